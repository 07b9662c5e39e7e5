"""Verification of all events in the order of writing, with the checkpoint file and a copy of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from agent.store.audit.checkpoints import (
    BREAK,
    ORIGIN,
    RESTORE,
    Checkpoint,
    MalformedCheckpoint,
    effective,
    extend_digest,
    lines,
)
from agent.store.sqlite.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference from the written history. `event` counts in the order of writing, `seq` within the request.

    `command` counts the commands of operators in the order of execution.
    """

    what: str
    event: int | None = None
    uid: str | None = None
    seq: int | None = None
    command: int | None = None

    @property
    def where(self) -> str:
        """The place of the difference, as far as it is known."""
        parts = [f"event {self.event}"] if self.event is not None else []
        parts += [f"event {self.seq} of request {self.uid}"] if self.uid is not None else []
        parts += [f"command {self.command}"] if self.command is not None else []
        return ", ".join(parts) or "the checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """The content of a checkpoint file: all lines, those that still apply, and the faults of the file itself."""

    lines: tuple[Checkpoint, ...]
    effective: tuple[Checkpoint, ...]
    faults: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, noted: tuple[int, str] | None) -> "CheckpointFile":
        """Read the file. `noted` is the note in the database about its last line."""
        read: list[Checkpoint] = []
        faults: list[str] = []
        try:
            read.extend(lines(path))
        except MalformedCheckpoint as error:
            faults.append(f"line {error.line} of the checkpoints cannot be read")
        faults += _faults(read)
        if noted is not None and noted not in {(line.number, line.hash) for line in read}:
            faults.append(f"checkpoint {noted[0]}, which the database noted, is missing from {path.name}")
        return cls(lines=tuple(read), effective=tuple(effective(read)), faults=tuple(faults))


def _faults(read: Sequence[Checkpoint]) -> Iterator[str]:
    """The first fault of the chain of lines, and each break that an agent found."""
    for before, line in pairwise((ORIGIN, *read)):
        if line.number != before.number + 1 or line.previous != before.hash:
            yield f"checkpoint {line.number} does not follow checkpoint {before.number}: lines between them are missing"
            break
        if line.with_hash().hash != line.hash:
            yield f"checkpoint {line.number} is not what was written"
            break
    for line in read:
        if line.kind == BREAK:
            yield (
                f"at checkpoint {line.number} ({line.at}) the agent found the journal or the checkpoints truncated or "
                f"changed: only {line.event} events were unchanged"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalReport:
    """The result for the journal."""

    events: int
    findings: list[Finding]
    notices: tuple[str, ...]


def verify_journal(connection: Connection, file: CheckpointFile, copy: CheckpointFile | None) -> JournalReport:
    """Verify every event, in the order of writing."""
    findings = [Finding(what=what) for what in file.faults]
    demands = [*file.effective]
    if copy is not None:
        findings += [Finding(what=f"in the copy, {what}") for what in copy.faults]
        findings += _disagreement(file, copy)
        demands += copy.effective
    demands.sort(key=lambda line: line.event)
    events, faults = _check_events(connection, demands)
    notices = [
        f"at checkpoint {line.number} ({line.at}) a backup was restored; {line.event} events were kept"
        for line in file.lines
        if line.kind == RESTORE
    ]
    return JournalReport(events=events, findings=findings + faults, notices=tuple(notices))


def _disagreement(file: CheckpointFile, copy: CheckpointFile) -> Iterator[Finding]:
    ours = {line.number: line.hash for line in file.lines}
    for line in copy.lines:
        if ours.get(line.number) != line.hash:
            yield Finding(what=f"checkpoint {line.number} of the copy is not in the file next to the database")
            return


def _check_events(connection: Connection, demands: Sequence[Checkpoint]) -> tuple[int, list[Finding]]:
    """The number of events, the first missing event, and the first checkpoint that does not match."""
    findings: list[Finding] = []
    waiting = list(reversed(demands))
    good = events = last = 0
    digest = ""
    gap = broken = False
    for event, event_hash in connection.execute("SELECT id, hash FROM events ORDER BY id"):
        events += 1
        if event != last + 1 and not gap:
            gap = True
            findings.append(Finding(event=last + 1, what="the event is missing, or moved"))
        while waiting and waiting[-1].event < event and not broken:
            line = waiting.pop()
            broken = line.digest != digest
            good = good if broken else line.event
            if broken:
                findings.append(_mismatch(line, good))
        digest, last = extend_digest(digest, str(event_hash)), event
    for line in reversed(waiting):
        if broken:
            break
        if line.event <= last and line.digest == digest:
            good = line.event
            continue
        if line.event > last:
            what = (
                f"events after {good} were removed, at the end or before it: checkpoint {line.number} ({line.at}) has "
                f"{line.event} events, and the store has {events}"
            )
            findings.append(Finding(event=good + 1, what=what))
        else:
            findings.append(_mismatch(line, good))
        break
    return events, findings


def _mismatch(line: Checkpoint, good: int) -> Finding:
    what = (
        f"one of the events {good + 1} to {line.event} was changed, removed, inserted or moved: checkpoint "
        f"{line.number} ({line.at}) has others"
    )
    return Finding(event=good + 1, what=what)
