"""How commands that change something reach the agent: over its socket, or through the store when none runs."""

import secrets
import socket
from typing import Any

import orjson
import typer

from agent.cli.state_file import store_settings
from agent.core.errors import AgentError, StoreLocked
from agent.platform.settings import Settings

_ATTEMPTS = 3  # the same command, by its id, is obeyed once


def tell(verb: str, state: str | None, **arguments: Any) -> None:
    """Send one command and print the answer. Raises AgentError with what the agent says against it."""
    typer.echo(told(store_settings(state), verb, **arguments))


def told(settings: Settings, verb: str, **arguments: Any) -> str:
    """Send one command; the answer, once it is durable. Raises AgentError with what the agent says against it."""
    if not settings.state_path.exists():
        raise AgentError(f"There is no state file at {settings.state_path}.", "check ASSURE_AGENT_STATE_URL")
    request = {"id": secrets.token_hex(12), "verb": verb, **arguments}
    answer = _answer(settings, request)
    if not answer.get("ok"):
        raise AgentError(str(answer.get("message")), str(answer.get("hint", "")))
    return str(answer["message"])


def asked_of_running(settings: Settings, verb: str) -> str:
    """Send one command that only a running agent can answer. Raises AgentError where none runs, or with its refusal."""
    try:
        answer = _sent(settings, {"id": secrets.token_hex(12), "verb": verb})
    except OSError:
        state = settings.state_path
        raise AgentError(
            f"No agent runs on the state file {state}.", "start it with `assure-agent run`, or name another --state"
        ) from None
    if not answer.get("ok"):
        raise AgentError(str(answer.get("message")), str(answer.get("hint", "")))
    return str(answer["message"])


def _answer(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    from agent.daemon.offline import obey

    for _ in range(_ATTEMPTS):
        try:
            return _sent(settings, request)
        except OSError:
            try:
                return obey(settings, request)
            except StoreLocked as error:
                locked = error  # an agent began or ended between the two
    raise locked


def _sent(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    from agent.daemon.control_socket import reachable, socket_of

    with reachable(socket_of(settings.state_path)) as name, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(name)
        connection.sendall(orjson.dumps(request) + b"\n")
        received = b""
        while not received.endswith(b"\n"):
            part = connection.recv(65536)
            if not part:
                raise ConnectionResetError
            received += part
    answer = orjson.loads(received)
    return answer if isinstance(answer, dict) else {}
