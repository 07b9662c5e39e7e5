"""The invariants of the agent, judged from outside: the store's file is compared with the simulator's ledger.

Every proof with a store and a ledger ends with them, during faults (`settled=False`) and after all is settled. They
read SQL and JSON, and share no logic with the agent.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.sandbox import CANARIES
from agent.store.sqlite.connection import Connection, open_reader
from verification.audits import verified

Json = dict[str, Any]

_OF_ASSURE = ("accepted", "rejected", "inconclusive", "canceled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A violated invariant, with its subject (a uid or a reference)."""

    invariant: str
    message: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.invariant} {self.message} {self.subject}".strip()


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, as the audit log describes it."""

    uid: str
    number: int
    mode: str
    outcome: str | None
    outcome_at: float
    dossier_id: str | None
    process_id: str | None
    links: int  # capture links handed out
    asked: bool  # a hold was open when the outcome came


def violations(state: Path, ledger: Json, agent: str, *, settled: bool, astray: float = 0.0) -> list[Violation]:
    """All violations. `ledger` as GET /sandbox/ledger sends it. `agent` is the id in the references.

    `astray`: the largest error of the agent's clock, in seconds.
    """
    if not state.exists():
        return [Violation(invariant="I4", message="a dossier, and no store") for _ in ledger["dossiers"][:1]]
    with contextlib.closing(open_reader(state)) as connection:
        found = [*_accounted(connection, ledger, agent), *_durable(connection, ledger, agent)]
        generations = list(_generations(connection))
        found += _started_once(generations, ledger, agent)
        found += _read_before_deleted(generations, ledger, astray)
        found += _sound(connection)
        if settled:
            found += _settled(connection, ledger)
    found += [Violation(invariant="I5", message=one.what, subject=one.uid or "") for one in verified(state).findings]
    found += [
        Violation(
            invariant="contract", message=f"{one['kind']} {one['operation']}", subject=one["externalReference"] or ""
        )
        for one in ledger["violations"]
    ]
    content = b"".join(path.read_bytes() for path in state.parent.glob(state.name + "*") if path.is_file())
    found += [
        Violation(invariant="I6", message="a personal value in the store")
        for one in CANARIES
        if one.encode() in content
    ]
    return found


def _prefix(agent: str, uid: str, generation: int) -> str:
    return f"aa-{agent}-{uid}-{generation}-"


def _accounted(connection: Connection, ledger: Json, agent: str) -> Iterator[Violation]:
    """I3: each dossier at Assure belongs to a record, is searched for, or is stored as a possible orphan."""
    rows = connection.execute("SELECT dossier_id, reference, phase, record FROM requests").fetchall()
    owned = {row[0] for row in rows if row[2] != "done"}
    sought = {row[1] for row in rows if _creating(json.loads(row[3]))}
    orphans = {row[0] for row in connection.execute("SELECT reference FROM orphans WHERE closed_at IS NULL")}
    for dossier in ledger["dossiers"]:
        reference = dossier["externalReference"] or ""
        mine = reference.startswith(f"aa-{agent}-") and dossier["deletedAt"] is None
        if mine and dossier["dossierId"] not in owned and reference not in sought | orphans:
            yield Violation(invariant="I3", message="a dossier without a record", subject=reference)


def _creating(record: Json) -> bool:
    intent = record.get("intent") or {}
    return "create_dossier" in (record.get("doubt"), intent.get("kind"))


def _durable(connection: Connection, ledger: Json, agent: str) -> Iterator[Violation]:
    """I4: every call that took effect at Assure was in the store before."""
    attempts = {
        (row[0], row[1], row[2]): int(row[3])
        for row in connection.execute("SELECT uid, generation, effect, count(*) FROM attempts GROUP BY 1, 2, 3")
    }
    starts = dict(connection.execute("SELECT uid || '-' || generation, process_id FROM starts").fetchall())
    created: dict[tuple[str, int], int] = defaultdict(int)
    for dossier in ledger["dossiers"]:
        reference = dossier["externalReference"] or ""
        if not reference.startswith(f"aa-{agent}-"):
            continue
        uid, generation = reference.split("-")[2], int(reference.split("-")[3])
        created[uid, generation] += 1
        if dossier["captures"] > attempts.get((uid, generation, "start_capture"), 0):
            yield Violation(invariant="I4", message="a capture flow without its intent", subject=reference)
        for process in dossier["processes"]:
            known = starts.get(f"{uid}-{generation}", "")
            if process["starts"] and not dossier["captures"] and known != process["processId"]:
                yield Violation(invariant="I4", message="a start without its intent", subject=reference)
    for (uid, generation), count in created.items():
        if count > attempts.get((uid, generation, "create_dossier"), 0):
            yield Violation(invariant="I4", message="more dossiers than intents", subject=f"{uid}-{generation}")


def _generations(connection: Connection) -> Iterator[Generation]:
    """Every generation of every request, from the audit log."""
    latest: dict[tuple[str, int], Generation] = {}
    asked: set[tuple[str, int]] = set()
    fields: dict[str, Json] = defaultdict(dict)
    links: dict[tuple[str, int], int] = defaultdict(int)
    for uid, kind, changes in connection.execute("SELECT uid, type, changes FROM events ORDER BY uid, seq"):
        now = fields[uid]
        before, held = now.get("generation", 1), now.get("hold") is not None
        now.update(changed := json.loads(changes))
        number = now.get("generation", 1)
        if held and changed.get("outcome"):
            asked.add((uid, number))
        links[uid, before] += kind == "CaptureStarted"
        latest[uid, number] = Generation(
            uid=uid,
            number=number,
            mode=now.get("mode", ""),
            outcome=now.get("outcome"),
            outcome_at=now.get("outcomeAt", 0.0),
            dossier_id=now.get("dossierId"),
            process_id=now.get("processId"),
            links=0,
            asked=False,
        )
    for key, one in latest.items():
        yield replace(one, links=links[key], asked=key in asked)


def _started_once(generations: list[Generation], ledger: Json, agent: str) -> Iterator[Violation]:
    """I2: never two starts for one generation. For a capture, never two links in use."""
    starts: dict[str, int] = defaultdict(int)
    for dossier in ledger["dossiers"]:
        generation = (dossier["externalReference"] or "").rpartition("-")[0] + "-"
        if not dossier["captures"]:
            starts[generation] += sum(process["starts"] for process in dossier["processes"])
        if dossier["captures"] > 1:
            yield Violation(invariant="I2", message="two capture flows in a dossier", subject=generation)
    for one in generations:
        if starts[_prefix(agent, one.uid, one.number)] > 1:
            yield Violation(invariant="I2", message="started twice", subject=f"{one.uid}-{one.number}")
        if one.links > 1:
            yield Violation(invariant="I2", message="two links handed out", subject=f"{one.uid}-{one.number}")


def _read_before_deleted(generations: list[Generation], ledger: Json, astray: float) -> Iterator[Violation]:
    """The agent read Assure's decision while the dossier existed, and recorded that decision."""
    dossiers = {row["dossierId"]: row for row in ledger["dossiers"]}
    for one in generations:
        dossier = dossiers.get(one.dossier_id)
        who = f"{one.uid}-{one.number}"
        if dossier is not None and one.outcome == "expired" and not one.asked and _given_up(one, dossier, astray):
            yield Violation(invariant="result", message="expired, although Assure had decided long before", subject=who)
        if dossier is None or one.outcome not in _OF_ASSURE:
            continue
        if not dossier["resultRead"]:
            yield Violation(invariant="result", message="an outcome that was never read", subject=who)
        said = {process["processId"]: process["status"] for process in dossier["processes"]}.get(one.process_id)
        if said != one.outcome:
            yield Violation(invariant="result", message=f"{one.outcome}, but Assure says {said}", subject=who)


def _given_up(one: Generation, dossier: Json, astray: float) -> bool:
    """True when a result existed for more than an hour, and its request ended without it."""
    decided = [process["decidedAt"] for process in dossier["processes"] if process["decidedAt"] is not None]
    return not dossier["resultRead"] and any(one.outcome_at - _seconds(at) > 3600.0 + astray for at in decided)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _sound(connection: Connection) -> Iterator[Violation]:
    """No store is restored in these lives, so a detected rollback is a false alarm."""
    for (why,) in connection.execute("SELECT cause FROM recoveries WHERE cause <> 'lost'"):
        yield Violation(invariant="alarm", message=f"the agent reports the store as {why}")


def _settled(connection: Connection, ledger: Json) -> Iterator[Violation]:
    """I1 and I3 at the end: all requests are done or wait for the operator, and every dossier has an owner."""
    rows = connection.execute("SELECT uid, phase, state, moving, dossier_id, hold_reason FROM requests").fetchall()
    for uid, phase, state, moving, *_ in rows:
        if moving or state not in ("done", "held", "suspended", "waiting"):
            yield Violation(invariant="I1", message=f"not settled: {phase} {state}", subject=uid)
    held = {row[4] for row in rows if row[1] != "done"}
    sought = {  # held while its creation is in doubt: the search follows the decision of the operator or HOLD_TTL
        row[0]
        for row in connection.execute("SELECT reference, record FROM requests WHERE hold_reason IS NOT NULL")
        if _creating(json.loads(row[1]))
    }
    for dossier in ledger["dossiers"]:
        explained = dossier["dossierId"] in held or dossier["externalReference"] in sought
        if dossier["deletedAt"] is None and not explained:
            yield Violation(invariant="I3", message="not deleted", subject=dossier["externalReference"] or "")
    for dossier in ledger["dossiers"]:
        billed = any(process["starts"] for process in dossier["processes"]) and not dossier["captures"]
        if dossier["deletedAt"] is None and billed:
            owner = next((row for row in rows if row[4] == dossier["dossierId"]), None)
            if owner is None or owner[2] not in ("held", "suspended", "waiting"):
                yield Violation(
                    invariant="I3", message="billed and not deleted", subject=dossier["externalReference"] or ""
                )
