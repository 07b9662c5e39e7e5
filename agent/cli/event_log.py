"""Events as lines for people or as JSON, for `logs`, `events` and `audit log`."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
import typer

from agent.cli.output import Format, print_json
from agent.core.timestamps import format_timestamp
from agent.platform.settings import Settings
from agent.store import open_audit
from agent.store.audit.connection import AuditConnection
from agent.store.audit.event_reader import EventReader, subjects
from agent.store.audit.request_log import AuditEntry, Subject
from agent.store.nearest_names import unknown_request
from agent.views.event_sentences import event_sentence
from agent.views.resource import answer_json

FORGOTTEN = "(forgotten)"
_POLL_SECONDS = 0.5  # seconds between two reads of the store


@contextlib.contextmanager
def requests_named(
    settings: Settings, names: Sequence[str], follow: bool = False
) -> Iterator[tuple[AuditConnection, list[Subject]]]:
    """A connection, and the requests of these names or uids. Raises UnknownRequest for the first unknown one.

    The connection reads a snapshot, or with `follow` what is committed at each read.
    """
    with open_audit(settings) as audit:
        if not follow:
            audit.freeze()
        keys = audit.existing_keys()
        found: list[Subject] = []
        for name in names:
            of_name = subjects(audit, name, keys)
            if not of_name:
                raise unknown_request(settings, name, audit=True)
            found += of_name
        yield audit, found


def event_line(entry: AuditEntry, name: str | None) -> str:
    """An event on one line: time, name of the request, sentence. Without a name if all events are of one request."""
    reply = entry.reply
    sentence = event_sentence(
        entry.type, entry.changes, reply.status if reply else None, reply.trouble if reply else None
    )
    return "  ".join(filter(None, (format_timestamp(entry.at), name, sentence)))


def event_json(entry: AuditEntry) -> dict[str, Any]:
    """An event with its changes and Assure's answer."""
    reply = entry.reply
    call = None if reply is None else {"number": reply.number, "effect": reply.effect, **answer_json(reply)}
    return {
        "event": entry.event,
        "seq": entry.seq,
        "time": format_timestamp(entry.at),
        "type": entry.type,
        "changes": entry.changes,
        "hash": entry.hash,
        "call": call,
    }


class EventPrinter:
    """Prints the events of a reader, with the name of each request or without."""

    def __init__(self, events: EventReader, output: Format, with_name: bool) -> None:
        self._events = events
        self._output = output
        self._with_name = with_name

    def print(self) -> None:
        """Print the events that were written so far: lines, or one JSON document."""
        entries = self._events.read()
        if self._output is Format.JSON:
            print_json({"items": [self._json(entry) for entry in entries]})
        else:
            self._print_lines(entries)

    def follow(self, ended: Callable[[], bool]) -> None:
        """Print each event once it is durable, until `ended` or Ctrl-C. JSON is one object a line."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                last = ended()  # read before the events, so that none is missed
                if self._output is Format.JSON:
                    for entry in self._events.read():
                        typer.echo(orjson.dumps(self._json(entry)))
                else:
                    self._print_lines(self._events.read())
                if last:
                    return
                time.sleep(_POLL_SECONDS)

    def _print_lines(self, entries: Iterable[AuditEntry]) -> None:
        for entry in entries:
            typer.echo(event_line(entry, (entry.name or FORGOTTEN) if self._with_name else None))

    def _json(self, entry: AuditEntry) -> dict[str, Any]:
        return {"name": entry.name or FORGOTTEN, "uid": entry.uid, **event_json(entry)}
