"""The completion of the names of requests in a shell."""

import contextlib
import io

import typer

_MAX_NAMES = 1000  # a shell asks before it shows more than a screen


def complete_request_name(context: typer.Context, incomplete: str) -> list[str]:
    """The names in the store that begin with this text, without those that are given already.

    Empty if the store is missing or unreadable: an error would destroy the line that the user is writing.
    """
    given = context.params.get("names") or ()
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        from agent.cli.state_file import store_settings
        from agent.store.readonly import ReadOnlyStore

        path = store_settings(context.params.get("state_url")).state_path
        if path.exists():
            with ReadOnlyStore(path) as reading:
                return [name for name in reading.names(incomplete, _MAX_NAMES) if name not in given]
    return []
