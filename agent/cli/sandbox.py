"""`assure-agent sandbox`: run the simulator of Assure as a separate server."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.help import SectionedGroup
from agent.cli.options import StateUrlOption, duration_option
from agent.core.errors import AgentError, WrongUse

if TYPE_CHECKING:
    from agent.sandbox import SandboxConfig, SandboxServer, Subscription


app = typer.Typer(cls=SectionedGroup, invoke_without_command=True, rich_markup_mode=None)


@app.command("reset")
def reset(state_url: StateUrlOption = None) -> None:
    """Reset the demo of `run --sandbox`.

    Removes its store and the simulated account. The command removes only a store of the sandbox.

    Exit codes: 0 removed, 1 no store, a store of another account, or an agent is running.

    Example: assure-agent sandbox reset
    """
    from agent.cli.state_file import sandbox_state
    from agent.platform.settings import load_settings
    from agent.store.sqlite.sandbox_reset import reset as remove

    settings = load_settings(state_url=state_url)
    if settings.uses_database:
        raise WrongUse(
            "`sandbox reset` removes a state file, and STATE_URL names a database.",
            f"drop the database and create it again, and remove the folder {settings.state_dir}",
        )
    path = sandbox_state(settings)
    remove(path)
    typer.echo(f"Removed {path}. The demo starts again with: assure-agent run --sandbox.")


Port = Annotated[int, typer.Option("--port", help="Port to listen on. 0: a free port.", min=0, max=65535)]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random decisions.")]
Outcomes = Annotated[
    str,
    typer.Option("--outcomes", help="Weights of outcomes for requests without a marker: accepted=8,rejected=1."),
]
Delay = Annotated[str, typer.Option("--delay", help="Duration of a verification: 1s, or a range 1s-3s.")]
CaptureProcess = Annotated[
    str, typer.Option("--capture-process", help="When a capture flow creates its process: at-start or at-open.")
]
RepeatedStarts = Annotated[
    str, typer.Option("--repeated-starts", help="A second start of a verification: refuse it, or accept and bill it.")
]
Interactive = Annotated[
    bool, typer.Option("--interactive", help="Captures wait for an end user. Default: they complete automatically.")
]
ClientId = Annotated[str, typer.Option("--client-id", help="Accepted client id.")]
ClientSecret = Annotated[str, typer.Option("--client-secret", help="Accepted client secret.")]
EventsUrl = Annotated[
    str, typer.Option("--events-url", help="URL that receives Assure Events, such as http://127.0.0.1:9465/events.")
]
EventsSecret = Annotated[str, typer.Option("--events-secret", help="Secret that signs the events. Empty: unsigned.")]
EventsHeader = Annotated[str, typer.Option("--events-header", help="Header with the signature.")]
EventsEncoding = Annotated[str, typer.Option("--events-encoding", help="Encoding of the signature: hex or base64.")]
EventsPrefix = Annotated[str, typer.Option("--events-prefix", help="Text before the signature, such as sha256=.")]
EventsLifetime = Annotated[
    str, typer.Option("--events-lifetime", help="How long the sandbox sends an event again until it is acknowledged.")
]
Persist = Annotated[Path | None, typer.Option("--persist", help="File that keeps the simulated data.")]


@app.callback()
def sandbox(
    context: typer.Context,
    port: Port = 0,
    host: Host = "127.0.0.1",
    seed: Seed = 0,
    outcomes: Outcomes = "accepted=1",
    delay: Delay = "1s-3s",
    capture_process: CaptureProcess = "at-start",
    repeated_starts: RepeatedStarts = "refuse",
    interactive: Interactive = False,
    client_id: ClientId = "sandbox-client",
    client_secret: ClientSecret = "sandbox-secret",  # noqa: S107 - of a simulator
    events_url: EventsUrl = "",
    events_secret: EventsSecret = "",
    events_header: EventsHeader = "X-Signicat-Signature",
    events_encoding: EventsEncoding = "hex",
    events_prefix: EventsPrefix = "",
    events_lifetime: EventsLifetime = "30s",
    persist: Persist = None,
) -> None:
    """Serve a simulator of the Assure API until interrupted.

    Prints its base URL. The simulator also serves /sandbox/ledger (all calls and their effects), /sandbox/faults
    (scripted errors) and /sandbox/events (the event subscription).

    Example: assure-agent sandbox --port 9466 --outcomes accepted=8,rejected=2
    """
    if context.invoked_subcommand is not None:
        return
    from agent.sandbox import SandboxConfig

    if capture_process not in ("at-start", "at-open"):
        raise typer.BadParameter("--capture-process is at-start or at-open.")
    if repeated_starts not in ("refuse", "accept"):
        raise typer.BadParameter("--repeated-starts is refuse or accept.")
    subscription = _subscription(
        url=events_url,
        secret=events_secret,
        header=events_header,
        encoding=events_encoding,
        prefix=events_prefix,
        lifetime=duration_option("--events-lifetime", events_lifetime),
    )
    config = SandboxConfig(
        host=host,
        port=port,
        seed=seed,
        outcomes=_weights(outcomes),
        verification_delay=_range(delay),
        capture_process="at-open" if capture_process == "at-open" else "at-start",
        repeated_starts="accept" if repeated_starts == "accept" else "refuse",
        interactive=interactive,
        client_id=client_id,
        client_secret=client_secret,
        persist=persist,
        events=subscription,
    )
    _serve(config)


def _serve(config: "SandboxConfig") -> None:
    import uvloop

    from agent.platform.log import lines_lost, lost_lines
    from agent.platform.nonblocking_output import lossy_output
    from agent.sandbox.server import main_async

    try:
        with lossy_output(lost_lines, lines_lost), standalone_sandbox():
            uvloop.run(main_async(config, announce=typer.echo))
    except OSError as error:
        unknown_host = isinstance(error, socket.gaierror)
        hint = (
            "name an address of this machine, such as --host 127.0.0.1"
            if unknown_host
            else "choose another --port, or 0"
        )
        raise AgentError(f"{config.host}:{config.port} cannot be used: {error.strerror}.", hint) from None


def sandbox_account(server: "SandboxServer") -> dict[str, str]:
    """The settings with which a command uses this sandbox."""
    return {
        "base_url": server.url,
        "token_url": "",
        "client_id": server.config.client_id,
        "client_secret": server.config.client_secret,
    }


@contextlib.contextmanager
def standalone_sandbox() -> Iterator[None]:
    """Raise AgentError with a remedy for data of another version of the sandbox."""
    from agent.sandbox import IncompatibleSnapshot

    try:
        yield
    except IncompatibleSnapshot as error:
        raise AgentError(str(error), "remove it; the sandbox then starts without dossiers") from None


def _weights(text: str) -> dict[str, float]:
    known = ("accepted", "rejected", "inconclusive", "failed")
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in known or not value.strip().isdigit():
            raise typer.BadParameter(
                f"--outcomes is a list such as accepted=8,rejected=1. Outcomes: {', '.join(known)}."
            )
        weights[name.strip()] = float(value)
    if not any(weights.values()):
        raise typer.BadParameter("--outcomes: one weight must be above 0.")
    return weights


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    seconds = duration_option("--delay", low), duration_option("--delay", high or low)
    if seconds[0] > seconds[1]:
        raise typer.BadParameter("--delay: the shorter duration comes first, as in 1s-3s.")
    return seconds


def _subscription(**given: object) -> "Subscription | None":
    """The receiver of the events; None without a URL."""
    from pydantic import ValidationError

    from agent.sandbox import Subscription

    if not given["url"]:
        return None
    try:
        return Subscription.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"--events-{first['loc'][0]}: {first['msg']}.") from None
