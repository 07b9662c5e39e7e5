"""Are names, labels, authors and files those that were written? Their keyed digests are in the events [I5].

Without the key beside the store nothing but the form of it can be checked: what is there that should not be, and what
is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.core.audit import Audited
from agent.store.connection import Connection
from agent.store.digests import AUTHORS, FORGOTTEN, LABELS, NAME, RequestDigests, forgotten_digest
from agent.store.identity_key import Keys
from agent.store.repository import load


@dataclass(slots=True)
class NameDigests:
    """The digests that the events of a request tell, as far as they were read."""

    name: str | None = None  # None: forgotten
    labels: str | None = None
    authors: dict[str, str] = field(default_factory=dict)  # by generation
    forgotten: tuple[int, str] | None = None  # the event that says so, within the request, and its digest
    commands: list[tuple[int, int, str]] = field(default_factory=list)  # event, the same within the request, hash

    def apply(self, event: int, seq: int, changes: Audited) -> None:
        """Fold one event. Raises AttributeError, TypeError or ValueError for what none of ours says."""
        if (erased := changes.get(FORGOTTEN)) is not None:
            self.name, self.labels, self.authors, self.forgotten = None, None, {}, (seq, erased)
        if (name := changes.get(NAME)) is not None:
            self.name, self.forgotten = name, None
        self.labels = changes.get(LABELS, self.labels)
        self.authors = {**self.authors, **{str(int(one)): digest for one, digest in changes.get(AUTHORS, {}).items()}}
        if (command := changes.get("command")) is not None:
            self.commands.append((event, seq, str(command)))


def name_differences(
    connection: Connection, row: dict[str, Any], digests: NameDigests, keys: Keys | None
) -> Iterator[str]:
    """What the tables say of the name of a request, and of what goes with it, otherwise than its history."""
    try:
        yield from _name_differences(connection, row, digests, keys)
    except TypeError:  # bytes, or a number
        yield "its name, labels or authors are what none of ours are"


def _name_differences(
    connection: Connection, row: dict[str, Any], digests: NameDigests, keys: Keys | None
) -> Iterator[str]:
    uid, name = row["uid"], row["name"]
    record = load(row["record"])
    labels = connection.execute("SELECT key, value FROM labels WHERE uid = ?", (uid,)).fetchall()
    sql = "SELECT generation, file, author FROM provenance WHERE uid = ? ORDER BY generation"
    authors = connection.execute(sql, (uid,)).fetchall()
    if (name or "") != record.name:
        yield "its name is not the one that its record has"
    if sorted(labels) != sorted(record.desired.labels):
        yield "its labels are not those that its record has"
    if name is None:
        if labels or authors or row.get("salt") is not None:
            yield "its name was erased, and labels, an author or the salt of their digests were not"
        yield from _missing_name(uid, digests, keys)
    elif digests.name is None:
        yield "it has a name, and its history says that its name was erased or never written"
    elif keys is not None:
        yield from _label_differences(RequestDigests(keys, uid, row.get("salt") or ""), row, labels, authors, digests)


def _missing_name(uid: str, digests: NameDigests, keys: Keys | None) -> Iterator[str]:
    """A name is missing: its history has to say that it was erased."""
    if digests.forgotten is not None:
        seq, digest = digests.forgotten
        if keys is not None and digest != forgotten_digest(keys, uid, seq):
            yield f"its event {seq} says that the name was erased, and the agent did not write that"
    else:
        yield "its name was removed, and its history does not say that it was erased"


def _label_differences(
    sealer: RequestDigests,
    row: dict[str, Any],
    labels: list[tuple[str, str]],
    authors: list[tuple[int, str, str]],
    digests: NameDigests,
) -> Iterator[str]:
    if sealer.name(row["source"], row["name"]) != digests.name:
        yield "its name is not what was written"
    if sealer.labels(labels) != digests.labels:
        yield "its labels are not what was written"
    found = {str(author[0]): sealer.author(author) for author in authors}
    for generation in sorted(found.keys() | digests.authors.keys(), key=int):
        if found.get(generation) != digests.authors.get(generation):
            yield f"the author or the file of its generation {generation} is not what was written"
