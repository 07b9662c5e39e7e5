"""Verify the audit history: unbroken chains, no missing number, and a replay equal to the record [I5].

`verify` compares:
- the chain of events of each request, replayed, with its row, its calls and its starts;
- the digests in these events with its name, labels and origins (`verify_names.py`);
- the chain of operators' commands with the events that name them (`verify_commands.py`);
- all events in the order of writing with the checkpoint file, and that file with the note in the database
  (`verify_journal.py`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agent.core.audit import ANSWER, Audited, audited, replay
from agent.core.effect import EffectKind
from agent.core.errors import AgentError
from agent.store.audit.checkpoint_file import note
from agent.store.audit.checkpoints import lines
from agent.store.audit.connection import AuditConnection
from agent.store.audit.histories import History, with_histories
from agent.store.audit.report import AuditReport, CheckpointFile, Finding
from agent.store.audit.verify_commands import verify_commands
from agent.store.audit.verify_journal import verify_journal
from agent.store.audit.verify_names import NameDigests, name_differences
from agent.store.identity_key import Keys
from agent.store.repository import columns, event_hash, load


def verify(audit: AuditConnection, copy: Path | None = None) -> AuditReport:
    """Verify the whole store in one snapshot, also while an agent runs. `copy` is a copy of the checkpoint file."""
    # This order matters: no copy may be newer than the checkpoints, nor they newer than the snapshot.
    copy = copy or audit.checkpoint_copy
    kept = CheckpointFile.read(lines(copy), None) if copy is not None else None
    file = CheckpointFile.read(audit.checkpoints(), note(audit))
    audit.freeze()
    findings: list[Finding] = []
    try:
        names = NameChecks(keys=audit.checked_keys())
    except AgentError as error:
        names = NameChecks(keys=None)
        findings.append(Finding(what=f"{str(error).rstrip('.')}: names and commands could not be verified"))
    requests, faults = _verify_requests(audit, names)
    findings += faults
    (commands,) = audit.execute("SELECT count(*) FROM commands").fetchone()
    covering = sorted((*file.effective, *(kept.effective if kept is not None else ())), key=lambda one: one.number)
    findings += verify_commands(audit, names.keys, names.commands, covering)
    checked = verify_journal(audit, file, kept)
    findings += checked.findings
    findings.sort(key=lambda finding: finding.event or 1 << 62)
    return AuditReport(
        requests=requests,
        events=checked.events,
        commands=commands,
        checkpoints=len(file.lines),
        covered=file.effective[-1].event if file.effective else 0,
        last=file.lines[-1].at if file.lines else None,
        findings=tuple(findings),
        notices=(*_unchecked(names, audit.key_path), *checked.notices),
    )


def _unchecked(names: "NameChecks", key_path: Path) -> Iterator[str]:
    """Notices about data that could not be verified."""
    if names.keys is None:
        yield f"{key_path} is missing: names, labels, origins and commands could not be verified"


def _verify_requests(audit: AuditConnection, names: "NameChecks") -> tuple[int, list[Finding]]:
    requests = 0
    findings: list[Finding] = []
    for row, history in with_histories(audit, audit.mappings("SELECT * FROM requests")):
        requests += 1
        findings += verify_request(row, history, names)
    sql = "SELECT id, uid, seq FROM events WHERE uid NOT IN (SELECT uid FROM requests) ORDER BY id"
    for event, uid, seq in audit.execute(sql):
        findings.append(Finding(event=event, uid=uid, seq=seq, what="the event belongs to no request"))
    findings += _rows_without_request(audit)
    return requests, findings


def _rows_without_request(audit: AuditConnection) -> Iterator[Finding]:
    """The rows of every other table with a uid that is not in `requests`. A forged start would be counted as billed."""
    for table in audit.tables_with_uid():
        if table not in ("requests", "events"):
            sql = f"SELECT DISTINCT uid FROM {table} WHERE uid NOT IN (SELECT uid FROM requests)"  # noqa: S608 - from the schema
            for (uid,) in audit.execute(sql):
                yield Finding(uid=uid, what=f"rows of {table} belong to no request")


@dataclass(slots=True, kw_only=True)
class NameChecks:
    """The key for the verification of names, and the commands that the events name."""

    keys: Keys | None
    commands: dict[str, tuple[int, str, int]] = field(default_factory=dict)  # see `verify_commands.Named`


@dataclass(slots=True)
class _ReplayedHistory:
    """The state of a request, replayed from its events so far."""

    fields: Audited = field(default_factory=dict)
    attempts: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # by number, as rows of the table
    starts: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # by generation, as rows of the table
    digests: NameDigests = field(default_factory=NameDigests)

    def apply(self, event: int, seq: int, at: float, changes: Audited) -> None:
        before = self.fields
        self.digests.apply(event, seq, changes)
        self.fields = replay((before, changes))
        generation, process_id = self.fields.get("generation", 0), self.fields.get("processId")
        if "intent" in changes:
            if (answered := before.get("intent")) is not None:
                asked = self.attempts[answered["number"]]
                self.attempts[answered["number"]] = (*asked[:3], at, changes.get(ANSWER))
            if (intent := changes["intent"]) is not None:
                self.attempts[intent["number"]] = (generation, intent["effect"], at, None, None)
                if intent["effect"] == EffectKind.START_VERIFICATION:
                    self.starts.setdefault(generation, (process_id, at))
        if changes.get("billed") and process_id is None:  # Assure returned a capture link
            self.starts[generation] = (None, at)


def verify_request(row: Mapping[str, Any], history: History, names: NameChecks | None = None) -> Iterator[Finding]:
    """Verify one row of `requests` against its history. The first fault of the chain ends it.

    With `names`, verify its name, labels and origins as well.
    """
    uid = row["uid"]
    previous, expected, last = "", 0, 0
    replayed = _ReplayedHistory()
    for event, seq, at, kind, changes, digest in history.events:
        expected += 1
        if seq != expected:
            yield Finding(event=event, uid=uid, seq=expected, what="the event is missing")
            return
        if _hash(previous, uid, seq, at, kind, changes) != digest:
            yield Finding(event=event, uid=uid, seq=seq, what="the event is not what was written")
            return
        if event < last:
            yield Finding(event=event, uid=uid, seq=seq, what="the event is out of order")
            return
        previous, last = digest, event
        try:
            replayed.apply(event, seq, at, orjson.loads(changes))
        except (ValueError, LookupError, TypeError, AttributeError):
            yield Finding(event=event, uid=uid, seq=seq, what="the agent never writes such an event")
            return
    if expected != row["seq"] or previous != row["head"]:
        what = "the history was cut off or extended"
        yield Finding(event=last or None, uid=uid, seq=expected + 1, what=what)
        return
    faults = 0
    for what in _differences(row, history, replayed):
        faults += 1
        yield Finding(event=last, uid=uid, seq=expected, what=what)
    if names is not None and not faults:
        names.commands.update({digest: (event, uid, seq) for event, seq, digest in replayed.digests.commands})
        for what in name_differences(row, history, replayed.digests, names.keys):
            yield Finding(event=last, uid=uid, seq=expected, what=what)


def _hash(*chained: Any) -> str | None:
    """The hash of an event, or None for values of a wrong type."""
    try:
        return event_hash(*chained)
    except TypeError:
        return None


def _differences(row: Mapping[str, Any], history: History, replayed: _ReplayedHistory) -> Iterator[str]:
    """The differences between the tables and the history."""
    try:
        record = load(row["record"])
    except ValueError:
        yield "the record cannot be read"
        return
    if replayed.fields != orjson.loads(orjson.dumps(audited(record))):
        yield "the record differs from its history"
        return
    for name, value in columns(record).items():
        same = row[name] == value or (name == "record" and _within(orjson.loads(row[name]), orjson.loads(value)))
        if not same and name != "name":  # a name may have been erased
            yield f"the column {name} differs from the record"
    for table, key, rows, expected in (
        ("attempts", "number", history.attempts, replayed.attempts),
        ("starts", "generation", history.starts, replayed.starts),
    ):
        found = {number: tuple(values) for number, *values in rows}
        for number in sorted(found.keys() | expected.keys()):
            if found.get(number) != expected.get(number):
                yield f"{key} {number} of its {table} differs from its history"


def _within(stored: Any, known: Any) -> bool:
    """True if the stored JSON matches the loaded record. A field with a default may be absent: it was added later."""
    if isinstance(stored, dict) and isinstance(known, dict):
        return all(key in known and _within(value, known[key]) for key, value in stored.items())
    if isinstance(stored, list) and isinstance(known, list) and len(stored) == len(known):
        return all(map(_within, stored, known))
    return bool(stored == known)
