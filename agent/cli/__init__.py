"""The command line, one file per command. Imports are late, so that a command loads only the code that it uses."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from agent.core.errors import AgentError

# Accepted before and after the name of the command.
_SHARED = ("--env-file", "--config-file", "--token-host")
_LOG_LEVELS = {"-v": "debug", "--verbose": "debug", "-q": "warning", "--quiet": "warning"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of stdout, which has no file name
COMPLETION_VARIABLE = "_ASSURE_AGENT_COMPLETE"  # set by the script of `assure-agent completion`
_CLOSED_PIPE = 128 + 13  # the exit code that a shell reports after SIGPIPE


def main() -> None:
    """The entry point `assure-agent`. It prints errors, never a traceback."""
    _open_standard_streams()
    with contextlib.suppress(ValueError):  # only the main thread may handle signals
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # under `nohup`, SIGHUP remains ignored
                signal.signal(number, _end)
    code = _run()
    sys.exit(_flush_output() or code)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End as after Ctrl-C: temporary folders are removed, and no git goes on. A second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def _run() -> int:
    if COMPLETION_VARIABLE in os.environ:
        from agent.cli.completion import print_completions

        return print_completions()
    from agent.cli.app import create_app
    from agent.cli.output import print_error
    from agent.core.errors import AgentError, WrongUse

    try:
        _refuse_bytes(sys.argv[1:])
        with shared_options(sys.argv[1:]) as arguments:
            create_app(arguments)(arguments, prog_name="assure-agent")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AgentError as error:
        print_error(error)
        return 2 if isinstance(error, WrongUse) else 1
    except BrokenPipeError:
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print_error(_output_failed(error) if error.filename is None and error.errno in _NO_ROOM else refused(error))
        return 1
    return 0


def refused(error: OSError) -> "AgentError":
    """The error message for an OSError."""
    from agent.core.errors import AgentError

    what = f" {error.filename}" if isinstance(error.filename, str) else ""
    return AgentError(f"The system refused{what}: {error.strerror or type(error).__name__}.", "check that path")


def _open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream.

    Otherwise the next opened file, such as the store, would receive its descriptor, and output would be written to it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _flush_output() -> int | None:
    """Flush stdout. Returns an exit code if it cannot be written, because the output is then incomplete."""
    from agent.cli.output import print_error

    stdout = sys.stdout
    if type(stdout).__name__ == "PacifyFlushWrapper":  # Typer found a closed pipe
        return _CLOSED_PIPE
    try:
        stdout.flush()
    except BrokenPipeError:
        _discard_output(stdout)
        return _CLOSED_PIPE
    except (OSError, ValueError) as error:
        _discard_output(stdout)
        print_error(_output_failed(error))
        return 1
    return None


def _output_failed(error: Exception) -> "AgentError":
    from agent.core.errors import AgentError

    reason = getattr(error, "strerror", None) or type(error).__name__
    return AgentError(
        f"The output cannot be written: {reason}.", "free disk space, or write the output to another file"
    )


def _discard_output(stream: TextIO) -> None:
    """Redirect the stream to /dev/null, so that the interpreter reports no error when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def _refuse_bytes(arguments: list[str]) -> None:
    """Raise AgentError for arguments that are not text: they could not be printed."""
    from agent.core.errors import AgentError

    try:
        " ".join(arguments).encode()
    except UnicodeEncodeError:
        raise AgentError(
            "An argument is not valid text in the encoding of this terminal.", "write it in UTF-8"
        ) from None


@contextlib.contextmanager
def shared_options(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments without the shared options, which `load_settings` uses while the block runs."""
    from agent.core.errors import WrongUse

    left: list[str] = []
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0] != "--":
        part = rest.pop(0)
        name, equals, value = part.partition("=")
        if name in _SHARED:
            if not equals and not rest:
                raise WrongUse(f"{name} needs a value.", f"{name} VALUE")
            given[name.removeprefix("--").replace("-", "_")] = value if equals else rest.pop(0)
        elif part in _LOG_LEVELS:
            if given.setdefault("log_level", _LOG_LEVELS[part]) != _LOG_LEVELS[part]:
                raise WrongUse("--verbose and --quiet contradict each other.", "use one of them")
        else:
            left.append(part)
    if not given:
        yield [*left, *rest]
        return
    from agent.platform.settings import SHARED

    token = SHARED.set(given)
    try:
        yield [*left, *rest]
    finally:
        SHARED.reset(token)
