"""The completion of the names of requests in a shell."""

import contextlib
import io

import typer

_MAX_NAMES = 1000  # a shell asks before it shows more than a screen


def complete_request_name(context: typer.Context, incomplete: str) -> list[str]:
    """The names in the store that begin with this text, without those that the line contains already.

    `print_completions` prints nothing if the store cannot be read.
    """
    from agent.cli.state_file import store_settings
    from agent.store import open_reading, store_exists

    given = context.params.get("names") or ()
    with contextlib.redirect_stderr(io.StringIO()):  # a note would destroy the line that the user is writing
        settings = store_settings(context.params.get("state_url"))
    if not store_exists(settings):
        return []
    with open_reading(settings) as reading:
        return [name for name in reading.names(incomplete, _MAX_NAMES) if name not in given]
