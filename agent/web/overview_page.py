"""The front page: held requests and their commands, running and waiting requests, outcomes, state of the agent."""

import math
from typing import Any

from agent.store.reading.reading import Reading
from agent.views.phrases import system_error
from agent.web.agent_status import StatusSnapshot
from agent.web.filters import STATES
from agent.web.recent_calls import HISTORY_MINUTES, RESULTS
from agent.web.revision_card import revision_alarms, revision_card
from agent.web.summaries import hold_summary, short_duration, summary_line, with_full_stop

_MAX_HELD, _MAX_SHOWN = 5, 8


def overview(browsing: Reading, snapshot: StatusSnapshot) -> dict[str, Any]:
    """The content of the front page."""
    states = browsing.states()

    def lines(state: str, most: int) -> list[dict[str, Any]]:
        return [summary_line(record, snapshot.now) for record in browsing.by_state(state, most)]

    sources = browsing.sources()
    return {
        "tiles": [
            {"state": state, "says": says, "count": states.get(state, 0)}
            for state, says in STATES.items()
            if state != "suspended" or states.get(state)
        ],
        "held": [hold_summary(record) for record in browsing.by_state("held", _MAX_HELD, oldest=True)],
        "held_total": states.get("held", 0),
        "running": lines("active", _MAX_SHOWN),
        "running_total": states.get("active", 0),
        "waiting": lines("waiting", _MAX_SHOWN),
        "waiting_total": states.get("waiting", 0),
        "outcomes": lines("done", _MAX_SHOWN),
        "done_total": states.get("done", 0),
        "alarms": _alarms(browsing, snapshot),
        "api": _api(snapshot),
        "circuit": {"badge": "open" if snapshot.circuit else "closed", "says": ""},
        "budget": None if snapshot.budget is None else {"left": snapshot.budget[0], "limit": snapshot.budget[1]},
        "sources": sources,
        "revision": None if snapshot.revision is None else revision_card(snapshot.revision, snapshot.web_page),
        "concerns": browsing.concerns(snapshot.now),
        "replicas": replica_lines(browsing, snapshot.epoch),
    }


def replica_lines(browsing: Reading, epoch: str) -> list[dict[str, Any]]:
    """The replicas of a database; none with a state file. `epoch` is the life of the one that serves the page."""
    if not epoch:
        return []
    return [
        {
            "name": one.name,
            "version": one.version,
            "since": one.since,
            "lease": short_duration(one.lease_seconds or 0.0),
            "driving": one.driving,
            "turns": ", ".join(one.turns),
            "serves": one.epoch == epoch,
        }
        for one in browsing.processes()
        if one.kind == "replica"
    ]


def _alarms(browsing: Reading, snapshot: StatusSnapshot) -> list[dict[str, str]]:
    """Problems that concern all requests, each with a command."""
    alarms = []
    if snapshot.paused:
        says = "The agent is paused. It starts no new work; it finishes and deletes running requests."
        alarms.append({"says": says, "command": "assure-agent resume"})
    if snapshot.ready is not None:
        alarms.append(
            {"says": with_full_stop(f"The agent is not ready: {snapshot.ready}"), "command": "assure-agent doctor"}
        )
    if waiting := browsing.waiting_withdrawals():
        says = f"{waiting:,} files were removed at once. Their withdrawal needs an approval."
        alarms.append({"says": says, "command": "assure-agent approve"})
    if snapshot.circuit is not None:
        says = with_full_stop(f"The circuit is open, and only probes are sent to Assure: {snapshot.circuit}")
        alarms.append({"says": says, "command": "assure-agent doctor"})
    if causes := browsing.failed_image_deletions():
        count, why = sum(number for _, number in causes), system_error(causes[0][0])
        says = f"The image files of {count:,} requests cannot be deleted: {why}. The agent tries again."
        alarms.append({"says": says, "command": "assure-agent doctor"})
    for name, begun, sentence in snapshot.troubles:
        says = f"Calls to {name} have failed for {short_duration(max(0.0, snapshot.now - begun))}: {sentence}."
        alarms.append({"says": says, "command": "assure-agent doctor"})
    if snapshot.revision is not None:
        alarms += revision_alarms(snapshot.revision, snapshot.now)
    most = 900 if snapshot.revision is None else math.inf  # a git source without a new revision needs no scan
    late = [source for source in browsing.sources() if snapshot.now - source.synced_at > most or not source.complete]
    for source in late:
        since = short_duration(max(0.0, snapshot.now - source.synced_at))
        says = f"The source {source.source} was last scanned {since} ago" + (
            "." if source.complete else ", and the scan was incomplete."
        )
        alarms.append({"says": says, "command": "assure-agent doctor"})
    return alarms


def _api(snapshot: StatusSnapshot) -> dict[str, Any]:
    """The answers of Assure, as numbers and as bars (40 units high, 10 units wide per minute)."""
    minutes = snapshot.minutes
    highest = max((minute.results.total() for minute in minutes), default=0)
    total = sum(minute.results.total() for minute in minutes)
    troubled = sum(minute.results[result] for minute in minutes for result in ("busy", "unknown"))
    bars = []
    for number, minute in enumerate(minutes):
        top, parts = 40.0, []
        for result in RESULTS:
            if count := minute.results[result]:
                height = 38.0 * count / highest
                top -= height
                parts.append({"result": result, "y": f"{top:.1f}", "height": f"{height:.1f}"})
        text = ", ".join(f"{minute.results[result]} {result}" for result in RESULTS if minute.results[result])
        bars.append(
            {"x": number * 10 + 1, "parts": parts, "says": f"{HISTORY_MINUTES - number} min ago: {text or 'no call'}"}
        )
    trouble = snapshot.last_trouble
    return {
        "total": total,
        "troubled": troubled,
        "last_done": snapshot.last_done,
        "trouble": None
        if trouble is None
        else {"at": trouble[0], "operation": trouble[1].replace("_", " "), "result": trouble[2]},
        "bars": bars,
    }
