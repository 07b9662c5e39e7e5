"""The command line, one file per command. Imports are late: a command pays for what it uses."""

import sys


def main() -> None:
    """The entry point `assure-agent`: no traceback reaches a user."""
    from agent.cli.app import app
    from agent.cli.output import complain
    from agent.core.errors import AgentError

    try:
        _refuse_bytes(sys.argv[1:])
        app(prog_name="assure-agent")
    except AgentError as error:
        complain(error)
        sys.exit(1)
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
