"""The command line, one file per command. Imports are late: a command pays for what it uses."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from agent.core.errors import AgentError

_SHARED = ("--env-file", "--config-file", "--token-host")  # before and behind the name of a command
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # from a file that has no name: stdout
_CLOSED_PIPE = 128 + 13  # as a shell says it of a program that SIGPIPE ended


def main() -> None:
    """The entry point `assure-agent`: no traceback reaches a user."""
    _open_standard_streams()
    code = _run()
    sys.exit(_written_out() or code)


def _run() -> int:
    from agent.cli.app import app
    from agent.cli.output import complain
    from agent.core.errors import AgentError, WrongUse

    try:
        _refuse_bytes(sys.argv[1:])
        with _shared(sys.argv[1:]) as arguments:
            app(arguments, prog_name="assure-agent")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AgentError as error:
        complain(error)
        return 2 if isinstance(error, WrongUse) else 1
    except BrokenPipeError:
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        complain(_unwritten(error) if error.filename is None and error.errno in _NO_ROOM else refused(error))
        return 1
    return 0


def refused(error: OSError) -> "AgentError":
    """What the system refused, as an error for a person."""
    from agent.core.errors import AgentError

    what = f" {error.filename}" if isinstance(error.filename, str) else ""
    return AgentError(f"The system refused{what}: {error.strerror or type(error).__name__}.", "check that path")


def _open_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed: the next file to be opened, the store say, would take its place,
    and be written to."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _written_out() -> int | None:
    """Write what stdout still keeps. An exit code where it cannot be written: nobody has seen the answer then."""
    from agent.cli.output import complain

    stdout = sys.stdout
    if type(stdout).__name__ == "PacifyFlushWrapper":  # Typer met a closed pipe
        return _CLOSED_PIPE
    try:
        stdout.flush()
    except BrokenPipeError:
        _discard(stdout)
        return _CLOSED_PIPE
    except (OSError, ValueError) as error:
        _discard(stdout)
        complain(_unwritten(error))
        return 1
    return None


def _unwritten(error: Exception) -> "AgentError":
    from agent.core.errors import AgentError

    reason = getattr(error, "strerror", None) or type(error).__name__
    return AgentError(f"The output cannot be written: {reason}.", "make room there, or choose another place")


def _discard(stream: TextIO) -> None:
    """Let the interpreter have nothing to write, and to complain of, when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


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
    from agent.platform.settings import SHARED

    token = SHARED.set(given)
    try:
        yield [*left, *rest]
    finally:
        SHARED.reset(token)
