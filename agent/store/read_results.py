"""The arguments and the results of reads, for commands, the API, the status page and the loops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.record import HoldReason, Outcome, Phase, Record
from agent.core.timestamps import format_optional_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A document that the last scan refused."""

    file: str
    line: int
    column: int
    message: str
    hint: str
    name: str | None  # if the document has a readable name


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One entry of the audit history."""

    seq: int
    at: float
    type: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The conditions on a list of requests. A request in the list meets all of them."""

    labels: Sequence[tuple[str, str]] = ()
    phase: Phase | None = None
    state: str = ""
    outcome: Outcome | None = None
    reason: HoldReason | None = None
    part: str = ""  # of the name


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    records: Sequence[Record]
    before: str | None  # the key before which the previous page ends; None on the first page
    after: str | None  # the key after which the next page begins; None on the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """The last scan of a source."""

    source: str
    synced_at: float
    files: int
    complete: bool
    waiting: int  # withdrawals that wait for an approval


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDeletion:
    """The image files of one request. `how` has the result of each finished file, by depiction."""

    uid: str
    tries: int
    how: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededImage:
    """One file that an earlier generation uploaded, and that the current document does not name."""

    uid: str
    generation: int
    depiction: str
    path: str
    sha256: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingProcess:
    """A process that writes to the store now."""

    name: str  # host:pid, or the pid of the agent of a state file
    kind: str  # replica | command | copy
    epoch: str = ""  # of its life on a database
    version: str | None = None  # this and the rest: None if the store does not know it
    since: float | None = None
    lease_seconds: float | None = None  # until its lease ends
    driving: int | None = None  # the requests that it processes now
    turns: tuple[str, ...] = ()  # what it alone does until its life ends

    def to_json(self) -> dict[str, Any]:
        """As the command line and the API show it. None: the store does not know it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "version": self.version,
            "since": format_optional_timestamp(self.since),
            "leaseSeconds": None if self.lease_seconds is None else round(self.lease_seconds, 1),
            "driving": self.driving,
            "turns": list(self.turns),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgent:
    """The agent that runs on a store."""

    pid: int
    host: str | None = None  # if it is another one
    since: float | None = None  # if the store knows it
    others: int = 0  # other agents on the same store

    def __str__(self) -> str:
        one = f"pid {self.pid}" if self.host is None else f"pid {self.pid} on {self.host}"
        return f"{one}, and {self.others} more" if self.others else one
