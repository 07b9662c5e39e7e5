"""The filters of a list of requests in the query of a URL, for the API and the status page."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from agent.core.record import HoldReason, Outcome, Phase
from agent.store.read_results import Filter

STATES = {
    "held": "held for an operator",
    "active": "running",
    "waiting": "waiting",
    "suspended": "suspended by their files",
    "done": "done",
}
VALUES: Mapping[str, Sequence[str]] = {
    "state": tuple(STATES),
    "phase": tuple(Phase),
    "outcome": tuple(Outcome),
    "reason": tuple(HoldReason),
}
_TYPES: Mapping[str, Any] = {"state": str, "phase": Phase, "outcome": Outcome, "reason": HoldReason}
_MAX_LABELS = 16


class InvalidQueryError(Exception):
    """A parameter that is unknown, is repeated, or has an invalid value."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.title, self.detail = title, detail


def refuse_unknown(query: QueryParams, known: Collection[str]) -> None:
    """Refuse unknown and repeated parameters: a misspelt filter must not be ignored. Raises InvalidQueryError."""
    for name in query:
        if name not in known:
            raise InvalidQueryError("Unknown parameter", f"Expected {', '.join(known) or 'no parameter'}.")
        if name != "label" and len(query.getlist(name)) > 1:
            raise InvalidQueryError("Repeated parameter", "Only label may be given more than once.")


def read_filter(query: QueryParams, part: str = "", labels: Sequence[str] = ()) -> Filter:
    """The filter of a query, with a part of a name and more labels (KEY=VALUE). Raises InvalidQueryError."""
    found = {name: _TYPES[name](_known(name, query[name])) for name in VALUES if name in query}
    pairs = [_pair(label) for label in (*query.getlist("label"), *labels)]
    if len(pairs) > _MAX_LABELS:
        raise InvalidQueryError("Too many labels", f"A request has at most {_MAX_LABELS} labels.")
    return Filter(labels=pairs, part=part, **found)


def _known(name: str, value: str) -> str:
    if value not in VALUES[name]:
        raise InvalidQueryError(f"Unknown {name}", f"Expected one of {', '.join(VALUES[name])}.")
    return value


def _pair(label: str) -> tuple[str, str]:
    key, equals, value = label.partition("=")
    if not equals or not key:
        raise InvalidQueryError("Invalid label", "Expected KEY=VALUE.")
    return key, value
