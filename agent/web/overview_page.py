"""The front of the status page: who is held and what to do, what runs and waits, what came of it, how the agent is."""

from typing import Any

from agent.store.pages import Browsing
from agent.views.explain import system
from agent.web.agent_status import Seen
from agent.web.recent_calls import MINUTES, RESULTS
from agent.web.summaries import ended, held, line, short

_HELD, _SHOWN, _LISTED = 5, 8, 100
TILES = {
    "held": "held for a person",
    "active": "running",
    "waiting": "waiting",
    "suspended": "suspended by their files",
    "done": "done",
}


def overview(browsing: Browsing, seen: Seen) -> dict[str, Any]:
    """All that the front shows."""
    states = browsing.states()

    def lines(state: str, most: int) -> list[dict[str, Any]]:
        return [line(record, seen.now) for record in browsing.by_state(state, most)]

    sources = browsing.sources()
    return {
        "tiles": [
            {"state": state, "says": says, "count": states.get(state, 0)}
            for state, says in TILES.items()
            if state != "suspended" or states.get(state)
        ],
        "held": [held(record) for record in browsing.by_state("held", _HELD, oldest=True)],
        "held_total": states.get("held", 0),
        "running": lines("active", _SHOWN),
        "running_total": states.get("active", 0),
        "waiting": lines("waiting", _SHOWN),
        "waiting_total": states.get("waiting", 0),
        "outcomes": lines("done", _SHOWN),
        "done_total": states.get("done", 0),
        "alarms": _alarms(browsing, seen),
        "api": _api(seen),
        "circuit": {"badge": "open" if seen.circuit else "closed", "says": ""},
        "budget": None if seen.budget is None else {"left": seen.budget[0], "limit": seen.budget[1]},
        "sources": sources,
        "concerns": browsing.concerns(seen.now),
    }


def found(browsing: Browsing, seen: Seen, query: str, state: str = "") -> dict[str, Any]:
    """Search results: words with `=` are labels, all others are parts of a name; all have to fit, and the state."""
    words = query.split()
    labels = [(key, value) for key, equals, value in (word.partition("=") for word in words) if equals]
    part = " ".join(word for word in words if "=" not in word).lower()
    page = browsing.page(labels[:16], None, "", _LISTED, part, state)
    more = f"The first {_LISTED} are shown; search for more of the name." if page.cursor else ""
    return {
        "title": f"Found for “{query}”" + (f", {TILES[state]}" if state else ""),
        "lines": [line(record, seen.now) for record in page.records],
        "more": more,
        "empty": "Nothing. Search for a part of a name, or for a whole label such as team=onboarding.",
    }


def in_state(browsing: Browsing, seen: Seen, state: str) -> dict[str, Any]:
    """The requests in one state."""
    total = browsing.states().get(state, 0)
    records = browsing.by_state(state, _LISTED)
    more = f"The {_LISTED} with the latest progress are shown, of {total:,}." if total > len(records) else ""
    return {
        "title": f"Requests that are {TILES[state]}" if state != "held" else "Requests that are held for a person",
        "lines": [line(record, seen.now) for record in records],
        "more": more,
        "empty": "There are none.",
    }


def _alarms(browsing: Browsing, seen: Seen) -> list[dict[str, str]]:
    """What concerns all requests, and the command that changes it."""
    alarms = []
    if seen.paused:
        says = "The agent is paused: nothing new is begun; what runs is observed and deleted."
        alarms.append({"says": says, "command": "assure-agent resume"})
    if seen.ready is not None:
        alarms.append({"says": ended(f"The agent is not ready: {seen.ready}"), "command": "assure-agent doctor"})
    if waiting := browsing.waiting_withdrawals():
        says = f"{waiting:,} files were removed at once; their withdrawal waits for an approval."
        alarms.append({"says": says, "command": "assure-agent approve"})
    if seen.circuit is not None:
        says = ended(f"The circuit is open, and nothing is sent to Assure but probes: {seen.circuit}")
        alarms.append({"says": says, "command": "assure-agent doctor"})
    if causes := browsing.undeleted():
        count, why = sum(number for _, number in causes), system(causes[0][0])
        says = f"The image files of {count:,} requests should be deleted, and cannot be: {why}. It is tried again."
        alarms.append({"says": says, "command": "assure-agent doctor"})
    for name, begun, sentence in seen.troubles:
        says = f"Calls to {name} fail for {short(max(0.0, seen.now - begun))}: {sentence}."
        alarms.append({"says": says, "command": "assure-agent doctor"})
    late = [source for source in browsing.sources() if seen.now - source.synced_at > 900 or not source.complete]
    for source in late:
        since = short(max(0.0, seen.now - source.synced_at))
        says = f"The source {source.source} was last scanned {since} ago" + (
            "." if source.complete else ", and not all of it could be read."
        )
        alarms.append({"says": says, "command": "assure-agent doctor"})
    return alarms


def _api(seen: Seen) -> dict[str, Any]:
    """The answers of Assure, as figures and as bars (in a box of 40 units of height, 10 for each minute)."""
    minutes = seen.minutes
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
        words = ", ".join(f"{minute.results[result]} {result}" for result in RESULTS if minute.results[result])
        bars.append({"x": number * 10 + 1, "parts": parts, "says": f"{MINUTES - number} min ago: {words or 'no call'}"})
    trouble = seen.last_trouble
    return {
        "total": total,
        "troubled": troubled,
        "last_done": seen.last_done,
        "trouble": None
        if trouble is None
        else {"at": trouble[0], "operation": trouble[1].replace("_", " "), "result": trouble[2]},
        "bars": bars,
    }


def refusals(browsing: Browsing, _: Seen) -> dict[str, Any]:
    """The documents that the last scan refused, with what to do about each."""
    found = browsing.refusals()
    more = f"The first {_LISTED} are shown; `assure-agent get` has all." if len(found) > _LISTED else ""
    return {"refusals": found[:_LISTED], "total": len(found), "more": more}


def known_state(word: str) -> bool:
    """Is this a state that can be listed?"""
    return word in TILES
