"""The command line, one file per command. Imports are late: a command pays for what it uses."""

import contextlib
import sys
from collections.abc import Iterator, Sequence

_SHARED = ("--env-file", "--config-file", "--token-host")  # before and behind the name of a command


def main() -> None:
    """The entry point `assure-agent`: no traceback reaches a user."""
    from agent.cli.app import app
    from agent.cli.output import complain
    from agent.core.errors import AgentError, WrongUse

    try:
        _refuse_bytes(sys.argv[1:])
        with _shared(sys.argv[1:]) as arguments:
            app(arguments, prog_name="assure-agent")
    except AgentError as error:
        complain(error)
        sys.exit(2 if isinstance(error, WrongUse) else 1)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
    except OSError as error:
        what = f" {error.filename}" if isinstance(error.filename, str) else ""
        complain(AgentError(f"The system refused{what}: {error.strerror or type(error).__name__}.", "check that path"))
        sys.exit(1)


def _refuse_bytes(arguments: list[str]) -> None:
    """What is no text could not be printed, nor be a name."""
    from agent.core.errors import AgentError

    try:
        " ".join(arguments).encode()
    except UnicodeEncodeError:
        raise AgentError("An argument is no text in this terminal's encoding.", "write it in UTF-8") from None


@contextlib.contextmanager
def _shared(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments without the options that every command takes; the settings hear of those meanwhile."""
    from agent.core.errors import WrongUse

    left: list[str] = []
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _SHARED:
            if not equals and not rest:
                raise WrongUse(f"{name} needs a value.", f"{name} VALUE")
            given[name.removeprefix("--").replace("-", "_")] = value if equals else rest.pop(0)
        else:
            left.append(word)
    if not given:
        yield [*left, *rest]
        return
    from agent.settings import SHARED

    token = SHARED.set(given)
    try:
        yield [*left, *rest]
    finally:
        SHARED.reset(token)
