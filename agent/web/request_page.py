"""The page of one request: phases with durations, attempts with answers, history, next step."""

import re
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from agent.core.effect import EffectKind
from agent.core.record import Mode, Origin, Phase, Record, Result
from agent.ports.store import Attempt
from agent.store.read_results import HistoryEntry
from agent.store.reading.reading import Reading
from agent.views.explain import RequestContext, describe_state, next_step
from agent.views.phrases import EFFECTS
from agent.web.agent_status import StatusSnapshot
from agent.web.revision_card import commit_link
from agent.web.summaries import hold_summary, short_duration

_MAX_ENTRIES, _MAX_ATTEMPTS = 300, 100
_PHASE_ORDER: dict[Mode, tuple[Phase, ...]] = {
    "upload": tuple(Phase),
    "capture": (Phase.DOSSIER, Phase.PROCESS, Phase.RESULT, Phase.DELETION, Phase.DONE),
}


def request_page(browsing: Reading, snapshot: StatusSnapshot, uid: str) -> dict[str, Any] | None:
    """The content of the page. None: unknown request, or its name was erased."""
    record = browsing.get(uid)
    if record is None or not record.name:
        return None
    now, name = snapshot.now, record.name
    entries = browsing.history(uid, _MAX_ENTRIES)
    link = browsing.link(uid) is not None
    around = RequestContext(
        paused_since=0.0 if snapshot.paused else None,
        link_lost=browsing.has_lost_link(record),
        waiting_withdrawals=browsing.waiting_withdrawals(),
        scan_notes=tuple(browsing.scan_notes(uid)),
        failed_deletion=browsing.failed_image_deletion_of(uid),
    )
    return {
        "name": name,
        "state": record.state,
        "outcome": record.outcome,
        "mode": record.desired.mode,
        "generation": record.generation,
        "labels": record.desired.labels,
        "held": hold_summary(record) if record.hold is not None else None,
        "next": next_step(record, now, snapshot.policy, around).sentence,
        "link_command": f"assure-agent get {quote(name)} --link" if link else None,
        "road": phase_timeline(record, entries, now),
        "where": list(describe_state(record, now, around)),
        "result": _result(record.result) if record.result is not None else None,
        "attempts": [_attempt(attempt) for attempt in reversed(browsing.attempts(uid, _MAX_ATTEMPTS))],
        "history": [_entry(entry) for entry in reversed(entries)],
        "truncated": len(entries) == _MAX_ENTRIES,
        "ids": list(_ids(record, browsing.origin(uid, record.generation), snapshot.web_page)),
        "commands_for": [f"assure-agent explain {quote(name)}", f"assure-agent describe {quote(name)} --remote"],
    }


def phase_timeline(record: Record, entries: Sequence[HistoryEntry], now: float) -> list[dict[str, str]]:
    """The phases of this generation in order: passed, now or ahead, with the time spent in each."""
    spent = durations(record, entries, now)
    order = _PHASE_ORDER[record.desired.mode]
    place = order.index(record.phase)
    parts = []
    for number, phase in enumerate(order):
        state = "now" if number == place else "passed" if number < place and phase in spent else "ahead"
        if record.phase is Phase.DONE and phase is Phase.DONE:
            state = "passed"
        took = short_duration(spent[phase]) if phase in spent and phase is not Phase.DONE else ""
        parts.append({"phase": phase.value, "state": state, "took": took})
    return parts


def durations(record: Record, entries: Sequence[HistoryEntry], now: float) -> dict[Phase, float]:
    """Seconds spent in each phase of the current generation; a phase that was passed twice counts twice."""
    spent: dict[Phase, float] = {}
    phase: Phase | None = None
    since = 0.0
    for entry in entries:
        changes = entry.changes
        if phase is not None and "phase" in changes:
            spent[phase] = spent.get(phase, 0.0) + entry.at - since
        if "generation" in changes:
            spent = {}
        if "phase" in changes or "generation" in changes:
            phase, since = Phase(changes.get("phase", phase or record.phase)), entry.at
    spent[record.phase] = spent.get(record.phase, 0.0) + now - record.phase_at
    return spent


def _attempt(attempt: Attempt) -> dict[str, Any]:
    """An attempt and the evidence of its answer."""
    took = short_duration(attempt.answered_at - attempt.intended_at) if attempt.answered_at is not None else ""
    shown = (
        ("HTTP status", attempt.status),
        ("no answer", attempt.trouble),
        ("cause", attempt.cause),
        ("Assure's words", attempt.words),
        ("trace id", attempt.trace_id),
        ("keys of the body", attempt.shape),
        ("SHA-256 of the body", attempt.digest),
    )
    return {
        "number": attempt.number,
        "what": EFFECTS[EffectKind(attempt.effect)],
        "at": attempt.intended_at,
        "took": took,
        "result": attempt.result or "unanswered",
        "short": f"HTTP {attempt.status}" if attempt.status else attempt.trouble or "",
        "evidence": [(key, value) for key, value in shown if value],
    }


def _entry(entry: HistoryEntry) -> dict[str, Any]:
    changes = entry.changes
    kind = "question" if changes.get("hold") else "phase" if "phase" in changes else "plain"
    what = re.sub(r"(?<!^)([A-Z])", r" \1", entry.type)
    return {"at": entry.at, "kind": kind, "what": what.capitalize(), "details": list(_details(changes))}


def _details(changes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The changes that mean something to an operator."""
    if intent := changes.get("intent"):
        yield "calls", EFFECTS[EffectKind(intent["effect"])]
    if hold := changes.get("hold"):
        yield "held", f"{hold['reason']} {hold['id']}"
    elif "hold" in changes:
        yield "hold", "answered"
    for key, label in _SHOWN_CHANGES.items():
        if (value := changes.get(key)) is not None:
            yield label, str(value)


_SHOWN_CHANGES = {
    "phase": "phase",
    "generation": "generation",
    "attempt": "attempt",
    "outcome": "outcome",
    "status": "status",
    "doubt": "unknown",
    "dossierId": "dossier",
    "processId": "process",
    "commit": "commit",
}


def _result(result: Result) -> dict[str, Any]:
    return {
        "status": result.status,
        "reasons": [
            " / ".join(part for part in (reason.type, reason.category, reason.sub_category) if part)
            for reason in result.reasons
        ],
        "checks": result.checks,
        "fail_type": result.fail_type,
    }


def _ids(record: Record, origin: Origin | None, web_page: str) -> Iterator[tuple[str, str, str | None]]:
    """Each identifier with its name, and with a link for a commit."""
    yield "uid", record.uid, None
    if record.opened_at is not None:
        yield "external reference", record.reference, None
    if record.dossier_id is not None:
        yield "dossier", record.dossier_id, None
    if record.process_id is not None:
        yield "process", record.process_id, None
    if (commit := record.desired.commit) is not None:
        yield "commit", commit + (" and changed" if record.desired.dirty else ""), commit_link(web_page, commit)
    if origin is not None and (commit := origin.file_commit) is not None:
        yield "last commit of the file", commit, commit_link(web_page, commit)
    if origin is not None and origin.signer is not None:
        yield "signed by", origin.signer, None
