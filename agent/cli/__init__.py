"""The command line, one file per command. Imports are late: a command pays for what it uses."""

import sys


def main() -> None:
    """The entry point `assure-agent`: no traceback reaches a user."""
    from agent.cli.app import app
    from agent.cli.output import complain
    from agent.core.errors import AgentError

    try:
        app(prog_name="assure-agent")
    except AgentError as error:
        complain(error)
        sys.exit(1)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
    except OSError as error:
        complain(AgentError(f"The system refused: {error.strerror or type(error).__name__}.", "check the paths given"))
        sys.exit(1)
