"""`assure-agent run`: the agent itself."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from agent.cli import refused
from agent.cli.output import complain
from agent.core.duration import parse_duration
from agent.core.errors import AgentError, WrongUse
from agent.platform.file_descriptors import raise_limit
from agent.platform.settings import Settings, load_settings, named_log_format, secrets_of

if TYPE_CHECKING:
    from agent.daemon.agent import Finished

_TIMEOUT = "10m"
_SANDBOX_PORT = 9466  # tried first, so that capture links of an earlier run still lead somewhere


def run(
    once: Annotated[bool, typer.Option("--once", help="End when all is settled as far as it can be.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With --once: the longest to wait; 10m by default.")
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Against the built-in simulator of Assure.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="With --sandbox: captures wait for a person with a browser.")
    ] = False,
    specs: Annotated[Path | None, typer.Option("--specs", help="The folder of request files, as SPECS_DIR.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="The images folder, as IMAGES_DIR.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
    rebind: Annotated[
        bool, typer.Option("--rebind", help="Take a store along that belongs to another base URL or client id.")
    ] = False,
    listen: Annotated[str | None, typer.Option("--listen", help="Where metrics are served, as LISTEN.")] = None,
) -> None:
    """Reconcile the requests in the folder with Assure, until it is interrupted.

    With --once: until all is settled as far as it can be; that waits for results and persons, not for retention,
    suspension or budget. Exit codes: 0 all done, 1 error, 3 something is held (or withdrawals wait for `approve`, since
    so many files are gone at once), 5 files were refused, 4 still waiting at the timeout; the first that applies of 1,
    3, 5, 4.

    Example: assure-agent run --sandbox --once
    """
    try:
        patience = parse_duration(timeout or _TIMEOUT)
    except ValueError as error:
        raise typer.BadParameter(f"--timeout: {error}") from None
    flags: dict[str, object] = {"specs_dir": specs, "images_dir": images, "state_url": state, "listen": listen}
    import uvloop

    from agent.platform.log import lines_lost, lost
    from agent.platform.nonblocking_output import lossy_output

    raise_limit()
    options = _Options(
        once=once, patience=patience, sandbox=sandbox, interactive=interactive, rebind=rebind, told=once or sandbox
    )
    with lossy_output(lost, lines_lost):
        try:
            _refuse_without_effect(once, timeout, sandbox, interactive)
            code = uvloop.run(_main(flags, options))
        except (AgentError, OSError) as error:
            _complain(error if isinstance(error, AgentError) else refused(error), flags)
            code = 2 if isinstance(error, WrongUse) else 1
    if code:
        raise typer.Exit(code)


def _refuse_without_effect(once: bool, timeout: str | None, sandbox: bool, interactive: bool) -> None:
    """Raise WrongUse for an option that would do nothing: `--interactive` alone would start a billing agent."""
    if interactive and not sandbox:
        raise WrongUse("--interactive has no effect without --sandbox.", "add --sandbox, or leave --interactive out")
    if timeout is not None and not once:
        raise WrongUse("--timeout has no effect without --once.", "add --once, or leave --timeout out")


def _complain(error: AgentError, flags: dict[str, object]) -> None:
    """The last line of stderr: JSON where LOG_FORMAT asks for it."""
    from agent.platform.log import configure, logger

    try:
        only_json = load_settings(**flags).log_format == "json"
    except AgentError:
        only_json = named_log_format() == "json"
    if only_json:
        configure("json", "error")
        logger().critical("ended", error=str(error), hint=error.hint or None)
    else:
        complain(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """How to run."""

    once: bool
    patience: float  # seconds, with once
    sandbox: bool
    interactive: bool
    rebind: bool
    told: bool  # a person looks on


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remote:
    """Where Assure is. `subscribe` is told where its events are received."""

    settings: Settings
    account: str = ""
    subscribe: Callable[[str], None] = lambda url: None


class _Interrupted:
    """The signals that end it, from the first moment on: while a large store is opened there is no agent to stop yet.

    SIGHUP says that the terminal is gone; under `nohup` it is ignored, and stays so.
    """

    def __init__(self) -> None:
        self._asked = False
        self._stop: Callable[[], None] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._ask)

    def leads_to(self, stop: Callable[[], None]) -> None:
        """Who is told; at once, when it was asked for already."""
        self._stop = stop
        if self._asked:
            stop()

    def _ask(self) -> None:
        self._asked = True
        if self._stop is not None:
            self._stop()


async def _main(flags: dict[str, object], options: _Options) -> int:
    async with _remote(flags, options) as remote:
        return await _run(remote, options)


@contextlib.asynccontextmanager
async def _remote(flags: dict[str, object], options: _Options) -> AsyncIterator[_Remote]:
    """What the settings say; with `sandbox` the simulator runs inside of this, and all of it leads there."""
    settings = load_settings(**flags)
    if not options.sandbox:
        yield _Remote(settings=settings)
        return
    from agent.cli.sandbox import own_world
    from agent.cli.state_file import sandbox_state
    from agent.sandbox import SandboxConfig, SandboxServer, Subscription
    from agent.store.account_binding import SANDBOX
    from agent.store.sandbox_reset import WORLD

    state = sandbox_state(settings)
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    world = state.with_name(WORLD)
    config = SandboxConfig(port=_SANDBOX_PORT, interactive=options.interactive, persist=world)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(own_world())
        try:
            server = await stack.enter_async_context(SandboxServer(config))
        except OSError:
            server = await stack.enter_async_context(SandboxServer(replace(config, port=0)))
        secret = next(iter(secrets_of(settings.events_secret)), token_hex(32))
        ours = {
            "state_url": f"sqlite:///{state}",
            "base_url": server.url,
            "token_url": "",
            "client_id": config.client_id,
            "client_secret": config.client_secret,
            "events_secret": secret,
            "events_listen": settings.events_listen if "events_listen" in settings.model_fields_set else "127.0.0.1:0",
        }

        def subscribe(url: str) -> None:
            subscription = Subscription(
                url=url,
                secret=SecretStr(secret),
                header=settings.events_signature_header,
                encoding=settings.events_signature_encoding,
                prefix=settings.events_signature_prefix,
            )
            server.outbox.subscribe(subscription)

        yield _Remote(settings=load_settings(**flags | ours), account=SANDBOX, subscribe=subscribe)


async def _run(remote: _Remote, options: _Options) -> int:
    from agent.cli.progress import Progress, status_page
    from agent.cli.state_file import state_option
    from agent.daemon.agent import Agent
    from agent.platform.log import configure

    settings = remote.settings
    quiet = options.told and "log_level" not in settings.model_fields_set
    configure(settings.log_format, "warning" if quiet else settings.log_level)
    progress = Progress(settings, running=not options.once, sandbox=options.sandbox) if options.told else None
    seen = progress.stepped if progress is not None else lambda step: None
    interrupted = _Interrupted()
    async with Agent.opened(settings, seen, account=remote.account, rebind=options.rebind) as agent:

        def listening(url: str) -> None:
            if agent.events_url is not None:
                remote.subscribe(f"{agent.events_url}/events")
            # A link is a bearer secret: for a terminal or a demonstration, and not for the log of a service.
            link = agent.page_link() if options.sandbox or sys.stdout.isatty() else None
            if progress is not None:
                progress.listening(url, link)
            elif link is not None:
                typer.echo(status_page(link, state_option(settings)))

        interrupted.leads_to(agent.stop)
        with progress or contextlib.nullcontext():
            if options.once:
                finished = await agent.run_once(options.patience, listening)
            else:
                await agent.run(listening)
    if progress is not None:
        progress.conclude()
    return _exit_code(settings, finished) if options.once else 0


def _exit_code(settings: Settings, finished: "Finished") -> int:
    """Of 3, 5, 4 the first that applies (design §9); errors have left as exceptions before."""
    from agent.store.readonly import Reading

    if finished.withdrawals and settings.log_format != "json":  # the log says it as well
        typer.echo(
            f"{finished.withdrawals} withdrawals wait for approval: so many files are gone at once. Try: put them "
            "back, or say `assure-agent approve` and run again; `assure-agent plan` lists them.",
            err=True,
        )
    with Reading(settings.state_path) as reading:
        held = bool(reading.held()) or finished.withdrawals > 0
    return 3 if held else 5 if finished.refused else 4 if finished.still_moving else 0
