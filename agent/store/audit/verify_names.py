"""Verification of names, labels, files and their origins. Their keyed digests are in the events [I5].

Without the key of the store, only the presence of each value can be verified.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.core.audit import Audited
from agent.core.record import Origin
from agent.core.step import GenerationOrigin
from agent.store.audit.histories import History
from agent.store.digests import FORGOTTEN, LABELS, NAME, ORIGINS, RequestDigests, forgotten_digest
from agent.store.identity_key import Keys
from agent.store.repository import load


@dataclass(slots=True)
class NameDigests:
    """The digests in the events of a request, as far as they were read."""

    name: str | None = None  # None: forgotten
    labels: str | None = None
    origins: dict[str, str] = field(default_factory=dict)  # by generation
    forgotten: tuple[int, str] | None = None  # the seq of the event of the erasure, and its digest
    commands: list[tuple[int, int, str]] = field(default_factory=list)  # event, seq, hash

    def apply(self, event: int, seq: int, changes: Audited) -> None:
        """Apply one event. Raises AttributeError, TypeError or ValueError for an event that the agent never writes."""
        if (erased := changes.get(FORGOTTEN)) is not None:
            self.name, self.labels, self.origins, self.forgotten = None, None, {}, (seq, erased)
        if (name := changes.get(NAME)) is not None:
            self.name, self.forgotten = name, None
        self.labels = changes.get(LABELS, self.labels)
        self.origins = {**self.origins, **{str(int(one)): digest for one, digest in changes.get(ORIGINS, {}).items()}}
        if (command := changes.get("command")) is not None:
            self.commands.append((event, seq, str(command)))


def name_differences(
    row: Mapping[str, Any], history: History, digests: NameDigests, keys: Keys | None
) -> Iterator[str]:
    """The differences between the tables and the history in name, labels, files and their origins."""
    try:
        yield from _name_differences(row, history, digests, keys)
    except TypeError:  # bytes, or a number
        yield "its name, labels or origins are of a wrong type"


def _name_differences(
    row: Mapping[str, Any], history: History, digests: NameDigests, keys: Keys | None
) -> Iterator[str]:
    uid, name = row["uid"], row["name"]
    record, labels = load(row["record"]), history.labels
    origins = [
        (generation, file, Origin(author=author, file_commit=commit, signer=signer))
        for generation, file, author, commit, signer in history.provenance
    ]
    if (name or "") != record.name:
        yield "its name differs from its record"
    if sorted(labels) != sorted(record.desired.labels):
        yield "its labels differ from its record"
    if name is None:
        if labels or origins or row.get("salt") is not None:
            yield "its name was erased, but labels, an origin or the salt of their digests exist"
        yield from _missing_name(uid, digests, keys)
    elif digests.name is None:
        yield "it has a name, but according to its history the name was erased or never written"
    elif keys is not None:
        yield from _label_differences(RequestDigests(keys, uid, row.get("salt") or ""), row, labels, origins, digests)


def _missing_name(uid: str, digests: NameDigests, keys: Keys | None) -> Iterator[str]:
    """For a missing name: its history must have the event of its erasure."""
    if digests.forgotten is not None:
        seq, digest = digests.forgotten
        if keys is not None and digest != forgotten_digest(keys, uid, seq):
            yield f"its event {seq} records the erasure of the name, but the agent did not write this event"
    else:
        yield "its name was removed, but its history has no event of an erasure"


def _label_differences(
    sealer: RequestDigests,
    row: Mapping[str, Any],
    labels: list[tuple[Any, ...]],
    origins: list[GenerationOrigin],
    digests: NameDigests,
) -> Iterator[str]:
    if sealer.name(row["source"], row["name"]) != digests.name:
        yield "its name is not what was written"
    if sealer.labels(labels) != digests.labels:
        yield "its labels are not what was written"
    found = {str(origin[0]): sealer.origin(*origin) for origin in origins}
    for generation in sorted(found.keys() | digests.origins.keys(), key=int):
        if found.get(generation) != digests.origins.get(generation):
            yield f"the file or the origin of its generation {generation} is not what was written"
