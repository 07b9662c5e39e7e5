"""`assure-agent run`: run the agent."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from agent.cli import refused
from agent.cli.options import ImagesOption, SpecsOption, StateUrlOption, duration_option, is_quiet
from agent.cli.output import print_error
from agent.core.errors import AgentError, Fenced, WrongUse
from agent.platform.file_descriptors import raise_limit
from agent.platform.settings import Settings, load_settings, named_log_format, secrets_of
from agent.views.phrases import count_withdrawals

if TYPE_CHECKING:
    from agent.cli.progress import Progress
    from agent.daemon.agent import Agent
    from agent.daemon.once_result import OnceResult
    from agent.sandbox import SandboxConfig, SandboxServer

_TIMEOUT = "10m"
_SANDBOX_PORT = 9466  # tried first, so that capture links of an earlier run remain valid


def run(
    once: Annotated[bool, typer.Option("--once", help="End when every request is settled.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With --once: maximum time to run. Default: 10m.")
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use the built-in simulator of Assure.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="With --sandbox: captures wait for an end user with a browser.")
    ] = False,
    specs: SpecsOption = None,
    images: ImagesOption = None,
    state_url: StateUrlOption = None,
    rebind: Annotated[
        bool, typer.Option("--rebind", help="Bind a store of another base URL or client id to this account.")
    ] = False,
    listen: Annotated[
        str | None, typer.Option("--listen", help="HOST:PORT of metrics, API and status page, as LISTEN.")
    ] = None,
) -> None:
    """Reconcile the request files with Assure until interrupted.

    With --once, the agent ends when every request is settled. It waits for results and end users, but not for
    retention, suspension or the start budget.

    Exit codes: 0 all settled, 1 error, 3 a held request or waiting withdrawals, 5 refused files or revision, 4 not
    settled at the timeout. If several apply, the first of 1, 3, 5, 4. A fetch that failed is an error.

    Example: assure-agent run --sandbox --once
    """
    options = _Options(
        once=once,
        timeout=duration_option("--timeout", timeout or _TIMEOUT),
        sandbox=sandbox,
        interactive=interactive,
        rebind=rebind,
        for_people=once or sandbox,
        quiet=is_quiet(),
    )
    flags: dict[str, object] = {"specs_dir": specs, "images_dir": images, "state_url": state_url, "listen": listen}
    if code := _run_safely(flags, options, with_timeout=timeout is not None):
        raise typer.Exit(code)


def _run_safely(flags: dict[str, object], options: "_Options", with_timeout: bool) -> int:
    """Run the agent and return the exit code. Neither an error nor a blocked log raises."""
    import uvloop

    from agent.platform.log import lines_lost, lost_lines
    from agent.platform.nonblocking_output import lossy_output

    raise_limit()
    with lossy_output(lost_lines, lines_lost):
        try:
            _refuse_without_effect(options, with_timeout)
            return uvloop.run(_main(flags, options))
        except (AgentError, OSError) as error:
            _print_problem(error if isinstance(error, AgentError) else refused(error), flags)
            return 2 if isinstance(error, WrongUse) else 1


def _refuse_without_effect(options: "_Options", with_timeout: bool) -> None:
    """Raise WrongUse for an option without effect: with `--interactive` alone, Assure would bill the starts."""
    if options.interactive and not options.sandbox:
        raise WrongUse("--interactive has no effect without --sandbox.", "add --sandbox, or leave --interactive out")
    if with_timeout and not options.once:
        raise WrongUse("--timeout has no effect without --once.", "add --once, or leave --timeout out")


def _print_problem(error: AgentError, flags: dict[str, object]) -> None:
    """Print the last line of stderr, as JSON if LOG_FORMAT requires it."""
    from agent.platform.log import configure, logger

    try:
        only_json = load_settings(**flags).log_format == "json"
    except AgentError:
        only_json = named_log_format() == "json"
    if only_json:
        configure("json", "error")
        logger().critical("ended", error=str(error), hint=error.hint or None)
    else:
        print_error(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of one run."""

    once: bool
    timeout: float  # seconds, with once
    sandbox: bool
    interactive: bool
    rebind: bool
    for_people: bool  # print progress for people, not only the log
    quiet: bool  # print only warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remote:
    """Assure or the simulator. `subscribe` receives the URL that accepts Assure Events."""

    settings: Settings
    account: str = ""
    subscribe: Callable[[str], None] = lambda url: None


class _SignalHandler:
    """Handles the signals that end the agent, even before it exists: to open a large store takes time.

    SIGHUP means that the terminal was closed. If it is ignored, as under `nohup`, it remains ignored.
    """

    def __init__(self) -> None:
        self.requested = False
        self._stop: Callable[[], None] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._request_stop)

    def on_interrupt(self, stop: Callable[[], None]) -> None:
        """Call `stop` after a signal, or now if one was received."""
        self._stop = stop
        if self.requested:
            stop()

    def _request_stop(self) -> None:
        self.requested = True
        if self._stop is not None:
            self._stop()


async def _main(flags: dict[str, object], options: _Options) -> int:
    async with _remote(flags, options) as remote:
        return await _run(remote, options)


@contextlib.asynccontextmanager
async def _remote(flags: dict[str, object], options: _Options) -> AsyncIterator[_Remote]:
    """The settings of this run. With `sandbox`, the simulator runs while the block runs, and the settings name it."""
    settings = load_settings(**flags)
    if not options.sandbox:
        yield _Remote(settings=settings)
        return
    from agent.cli.sandbox import sandbox_account, standalone_sandbox
    from agent.cli.state_file import sandbox_settings, sandbox_state
    from agent.sandbox import SandboxConfig
    from agent.store.account_binding import SANDBOX
    from agent.store.sqlite.sandbox_reset import WORLD

    state = sandbox_state(settings)
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = SandboxConfig(port=_SANDBOX_PORT, interactive=options.interactive, persist=state.with_name(WORLD))
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(standalone_sandbox())
        server = await _start_sandbox(stack, config)
        secret = next(iter(secrets_of(settings.events_secret)), token_hex(32))
        simulated = {
            "state_url": sandbox_settings(settings).state_url,
            **sandbox_account(server),
            "events_secret": secret,
            "events_listen": settings.events_listen if "events_listen" in settings.model_fields_set else "127.0.0.1:0",
        }
        yield _Remote(
            settings=load_settings(**flags | simulated),
            account=SANDBOX,
            subscribe=partial(_subscribe, server, settings, secret),
        )


async def _start_sandbox(stack: contextlib.AsyncExitStack, config: "SandboxConfig") -> "SandboxServer":
    """Start the simulator on its usual port, or on a free port if that one is in use."""
    from agent.sandbox import SandboxServer

    try:
        return await stack.enter_async_context(SandboxServer(config))
    except OSError:
        return await stack.enter_async_context(SandboxServer(replace(config, port=0)))


def _subscribe(server: "SandboxServer", settings: Settings, secret: str, url: str) -> None:
    from agent.sandbox import Subscription

    subscription = Subscription(
        url=url,
        secret=SecretStr(secret),
        header=settings.events_signature_header,
        encoding=settings.events_signature_encoding,
        prefix=settings.events_signature_prefix,
    )
    server.outbox.subscribe(subscription)


async def _run(remote: _Remote, options: _Options) -> int:
    from agent.cli.progress import Progress
    from agent.daemon.agent import Agent
    from agent.platform.log import configure, ended_lives, logger

    settings = remote.settings
    warnings_only = options.for_people and "log_level" not in settings.model_fields_set
    configure(settings.log_format, "warning" if warnings_only else settings.log_level)
    progress = None
    if options.for_people and not options.quiet:
        progress = Progress(
            settings, running=not options.once, sandbox=options.sandbox, interactive=options.interactive
        )
    on_step = progress.stepped if progress is not None else lambda step: None
    interrupted = _SignalHandler()
    finished: OnceResult | None = None
    while True:
        opening = Agent.opened(settings, on_step, account=remote.account, rebind=options.rebind)
        try:
            finished = await _live(opening, remote, options, progress, interrupted)
            break
        except Fenced:
            ended_lives.add(1)
            if interrupted.requested:
                break  # other replicas continue its work
            logger().warning("the lease ended, and another replica continues its work; this one begins again")
    if progress is not None:
        progress.print_outcomes()
    return _exit_code(settings, finished) if finished is not None else 0


async def _live(
    opening: "contextlib.AbstractAsyncContextManager[Agent]",
    remote: _Remote,
    options: _Options,
    progress: "Progress | None",
    interrupted: _SignalHandler,
) -> "OnceResult | None":
    """Run an agent until its end. Raises Fenced if its lease ended: then the process may begin another life."""
    from agent.cli.progress import status_page
    from agent.cli.state_file import state_option

    async with opening as agent:

        def listening(url: str) -> None:
            if agent.events_url is not None:
                remote.subscribe(f"{agent.events_url}/events")
            # The link is a secret: a terminal or a demo may show it, but not the log of a service.
            link = agent.page_link() if options.sandbox or sys.stdout.isatty() else None
            if progress is not None:
                progress.listening(url, link, agent.events_url)
            elif link is not None and not options.quiet:
                typer.echo(status_page(link, state_option(remote.settings)))

        interrupted.on_interrupt(agent.stop)
        with progress or contextlib.nullcontext():
            if options.once:
                return await agent.run_once(options.timeout, listening)
            await agent.run(listening)
            return None


def _exit_code(settings: Settings, finished: "OnceResult") -> int:
    """The first of 1, 3, 5, 4 that applies (design §9). Other errors are raised as exceptions."""
    from agent.store import open_reading
    from agent.views.revisions import troubles, with_hint

    if finished.withdrawals and settings.log_format != "json":  # with json, only the log reports it
        typer.echo(
            f"{count_withdrawals(finished.withdrawals)} for approval, because too many files were removed at once. "
            "`assure-agent plan` lists them. Try: restore the files, or run `assure-agent approve` and run again.",
            err=True,
        )
    with open_reading(settings) as reading:
        held = bool(reading.held()) or finished.withdrawals > 0
        revisions = reading.revision_state(settings.source_name)
    if settings.log_format != "json":
        for sentence, hint in troubles(revisions):
            typer.echo(with_hint(sentence, hint), err=True)
    if revisions.failure is not None:
        return 1
    refused = finished.refused or revisions.refused is not None
    return 3 if held else 5 if refused else 4 if finished.unfinished else 0
