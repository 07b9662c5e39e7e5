"""Commands to the agent: over its control socket, or through the store if no agent is running.

A command on a database always goes through the store: its replicas may run on other machines.
"""

import secrets
import socket
from typing import Any

import orjson
import typer

from agent.cli.state_file import require_store, store_settings
from agent.core.errors import AgentError, StoreLocked
from agent.platform.settings import Settings
from agent.store import running_agent
from agent.store.nearest_names import unknown_request

_ATTEMPTS = 3  # the agent executes a repeated command id only once


def run_command(verb: str, state_url: str | None, **arguments: Any) -> None:
    """Send one command and print the answer. Raises AgentError if the agent refuses the command."""
    typer.echo(send_command(store_settings(state_url), verb, **arguments))


def send_command(settings: Settings, verb: str, **arguments: Any) -> str:
    """Send one command, and return the answer once it is durable. Raises AgentError if the agent refuses it."""
    require_store(settings)
    request = {"id": secrets.token_hex(12), "verb": verb, **arguments}
    answer = _send_or_run_offline(settings, request)
    if (unknown := answer.get("unknown")) is not None:
        raise unknown_request(settings, unknown)
    return _message_of(answer)


def version_of_running_agent(settings: Settings) -> str | None:
    """The version of the running agent; empty if it is too old to report it. None if no agent is running."""
    try:
        answer = _send(settings, {"id": secrets.token_hex(12), "verb": "version"})
    except OSError:
        return None
    return str(answer["message"]) if answer.get("ok") else ""


def send_to_running_agent(settings: Settings, verb: str) -> str:
    """Send one command that only a running agent can answer. Raises AgentError if none is running or it refuses."""
    try:
        answer = _send(settings, {"id": secrets.token_hex(12), "verb": verb})
    except OSError:
        raise _unreachable(settings) from None
    return _message_of(answer)


def _unreachable(settings: Settings) -> AgentError:
    """The error of a control socket that does not answer."""
    from agent.daemon.control_socket import socket_path

    agent = running_agent(settings)
    if agent is None:
        return AgentError(
            f"No agent is running on the {settings.store_name}.",
            "start it with `assure-agent run`, or name another --state-url",
        )
    if agent.host is not None:
        return AgentError(
            f"The agent of the {settings.store_name} runs on another machine ({agent}).", f"run this on {agent.host}"
        )
    path = socket_path(settings.local_path)
    return AgentError(
        f"The agent of the {settings.store_name} ({agent}) does not answer at {path}.",
        "use the same STATE_DIR as that agent; if it was killed, start it again",
    )


def _message_of(answer: dict[str, Any]) -> str:
    if not answer.get("ok"):
        raise AgentError(str(answer.get("message")), str(answer.get("hint", "")))
    return str(answer["message"])


def _send_or_run_offline(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    from agent.daemon.offline import execute_offline

    if settings.uses_database:
        return execute_offline(settings, request)
    for _ in range(_ATTEMPTS):
        try:
            return _send(settings, request)
        except OSError:
            try:
                return execute_offline(settings, request)
            except StoreLocked as error:
                locked = error  # an agent started or ended in between
    raise locked


def _send(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    from agent.daemon.control_socket import short_socket_path, socket_path

    with short_socket_path(socket_path(settings.local_path)) as name, socket.socket(socket.AF_UNIX) as connection:
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
