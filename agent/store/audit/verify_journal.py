"""Verification of all events in the order of writing, with the checkpoint file and a copy of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.store.audit.checkpoints import RESTORE, Checkpoint, extend_digest
from agent.store.audit.connection import AuditConnection
from agent.store.audit.report import CheckpointFile, Finding, disagreement


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalReport:
    """The result for the journal."""

    events: int
    findings: list[Finding]
    notices: tuple[str, ...]


def verify_journal(audit: AuditConnection, file: CheckpointFile, copy: CheckpointFile | None) -> JournalReport:
    """Verify every event, in the order of writing."""
    findings = [Finding(what=what) for what in file.faults]
    demands = [*file.effective]
    if copy is not None:
        findings += [Finding(what=f"in the copy, {what}") for what in copy.faults]
        findings += disagreement(file, copy)
        demands += copy.effective
    demands.sort(key=lambda line: line.event)
    events, faults = _check_events(audit, demands)
    notices = [
        f"at checkpoint {line.number} ({line.at}) a backup was restored; {line.event} events were kept"
        for line in file.lines
        if line.kind == RESTORE
    ]
    return JournalReport(events=events, findings=findings + faults, notices=tuple(notices))


def _check_events(audit: AuditConnection, demands: Sequence[Checkpoint]) -> tuple[int, list[Finding]]:
    """The number of events, the first missing event, and the first checkpoint that does not match."""
    findings: list[Finding] = []
    waiting = list(reversed(demands))
    good = events = last = 0
    digest = ""
    gap = broken = False
    for event, event_hash in audit.stream("SELECT id, hash FROM events ORDER BY id"):
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
