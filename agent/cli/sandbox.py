"""`assure-agent sandbox`: the simulator of Assure on a port of its own."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.core.duration import parse_duration
from agent.core.errors import AgentError

if TYPE_CHECKING:
    from agent.sandbox import Subscription


app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.command("reset")
def reset(
    state: Annotated[str | None, typer.Option("--state", help="Its store, as STATE_URL.")] = None,
) -> None:
    """Begin the demo anew: remove the store of `run --sandbox` and the simulated account.

    Only a store of the sandbox is ever removed. Exit codes: 0 removed, 1 there is none, it is not the sandbox's, or an
    agent runs.

    Example: assure-agent sandbox reset
    """
    from agent.cli.state_file import sandbox_state
    from agent.platform.settings import load_settings
    from agent.store.sandbox_reset import reset as remove

    path = sandbox_state(load_settings(state_url=state))
    remove(path)
    typer.echo(f"The demo begins anew: {path} was removed. Try: assure-agent run --sandbox.")


@app.callback()
def sandbox(
    context: typer.Context,
    port: Annotated[int, typer.Option("--port", help="The port; 0 picks one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option("--seed", help="Seed of all chance.")] = 0,
    outcomes: Annotated[
        str, typer.Option("--outcomes", help="Weights where no marker says, such as accepted=8,rejected=1.")
    ] = "accepted=1",
    delay: Annotated[str, typer.Option("--delay", help="How long a verification takes: 1s, or 1s-3s.")] = "1s-3s",
    capture_process: Annotated[
        str, typer.Option("--capture-process", help="When a capture flow creates its process: at-start or at-open.")
    ] = "at-start",
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Captures wait for a person; otherwise they complete by themselves.")
    ] = False,
    client_id: Annotated[str, typer.Option("--client-id", help="The client id it accepts.")] = "sandbox-client",
    client_secret: Annotated[str, typer.Option("--client-secret", help="And its secret.")] = "sandbox-secret",  # noqa: S107 - a simulator's
    events_url: Annotated[
        str, typer.Option("--events-url", help="Where Assure Events are posted, such as http://127.0.0.1:9465/events.")
    ] = "",
    events_secret: Annotated[str, typer.Option("--events-secret", help="Signs the events; unsigned without.")] = "",
    events_header: Annotated[
        str, typer.Option("--events-header", help="The header of the signature.")
    ] = "X-Signicat-Signature",
    events_encoding: Annotated[
        str, typer.Option("--events-encoding", help="How the signature is written: hex or base64.")
    ] = "hex",
    events_prefix: Annotated[
        str, typer.Option("--events-prefix", help="What stands before the signature, such as sha256=.")
    ] = "",
    events_lifetime: Annotated[
        str, typer.Option("--events-lifetime", help="How long an event is sent again until it is acknowledged.")
    ] = "30s",
    persist: Annotated[Path | None, typer.Option("--persist", help="Keep the simulated world in this file.")] = None,
) -> None:
    """Serve a simulator of the Assure API until it is interrupted; prints its base URL.

    The ledger of what really happened is at /sandbox/ledger, scripted trouble at /sandbox/faults, the subscription to
    events at /sandbox/events.

    Example: assure-agent sandbox --port 9466 --outcomes accepted=8,rejected=2
    """
    if context.invoked_subcommand is not None:
        return
    import uvloop

    from agent.platform.log import lines_lost, lost
    from agent.platform.nonblocking_output import lossy_output
    from agent.sandbox import SandboxConfig
    from agent.sandbox.server import main_async

    if capture_process not in ("at-start", "at-open"):
        raise typer.BadParameter("--capture-process is at-start or at-open.")
    config = SandboxConfig(
        host=host,
        port=port,
        seed=seed,
        outcomes=_weights(outcomes),
        verification_delay=_range(delay),
        capture_process="at-open" if capture_process == "at-open" else "at-start",
        interactive=interactive,
        client_id=client_id,
        client_secret=client_secret,
        persist=persist,
        events=_subscription(
            url=events_url,
            secret=events_secret,
            header=events_header,
            encoding=events_encoding,
            prefix=events_prefix,
            lifetime=_duration("--events-lifetime", events_lifetime),
        ),
    )
    try:
        with lossy_output(lost, lines_lost), own_world():
            uvloop.run(main_async(config, announce=_announce))
    except OSError as error:
        named = isinstance(error, socket.gaierror)
        hint = "name an address of this machine, such as --host 127.0.0.1" if named else "choose another --port, or 0"
        raise AgentError(f"{host}:{port} cannot be used: {error.strerror}.", hint) from None


@contextlib.contextmanager
def own_world() -> Iterator[None]:
    """Say what to do with a file that no sandbox of this version wrote."""
    from agent.sandbox import ForeignWorld

    try:
        yield
    except ForeignWorld as error:
        raise AgentError(str(error), "remove it: the sandbox begins anew, and knows of no dossier") from None


def _announce(url: str) -> None:
    typer.echo(url)


def _weights(text: str) -> dict[str, float]:
    known = ("accepted", "rejected", "inconclusive", "failed")
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in known or not value.strip().isdigit():
            raise typer.BadParameter(f"--outcomes is a list such as accepted=8,rejected=1; known: {', '.join(known)}.")
        weights[name.strip()] = float(value)
    if not any(weights.values()):
        raise typer.BadParameter("--outcomes: one weight must be above 0.")
    return weights


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    seconds = _duration("--delay", low), _duration("--delay", high or low)
    if seconds[0] > seconds[1]:
        raise typer.BadParameter("--delay: the shorter duration comes first, as in 1s-3s.")
    return seconds


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def _subscription(**given: object) -> "Subscription | None":
    """Whom the events reach, or None when no URL was given."""
    from pydantic import ValidationError

    from agent.sandbox import Subscription

    if not given["url"]:
        return None
    try:
        return Subscription.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"--events-{first['loc'][0]}: {first['msg']}.") from None
