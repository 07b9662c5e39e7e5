"""The lists of the status page: requests that meet filters, and refused documents. Each list has pages."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from agent.store.read_results import Filter
from agent.store.reading.reading import Reading
from agent.web.agent_status import StatusSnapshot
from agent.web.filters import STATES, VALUES, InvalidQueryError, read_filter, refuse_unknown
from agent.web.summaries import summary_line

PAGE_SIZE = 100
_MAX_QUERY_LENGTH = 400  # characters of a search
_POSITIONS = ("after", "before")
_UID, _TIME_AND_UID = re.compile(r"[0-9a-f]{24}"), re.compile(r"[0-9]{1,12}\.[0-9]{1,9}-[0-9a-f]{24}")

Pairs = Sequence[tuple[str, str]]  # the parameters of a URL


class ListQuery:
    """The query of a list of requests. Raises InvalidQueryError.

    A word with `=` in the search is a label; the other words are a part of the name.
    """

    def __init__(self, query: QueryParams) -> None:
        kept = QueryParams([(name, value) for name, value in query.multi_items() if value.strip()])
        refuse_unknown(kept, ("q", "label", *VALUES, *_POSITIONS))
        self.search = kept.get("q", "").strip()[:_MAX_QUERY_LENGTH]
        words = self.search.split()
        part = " ".join(word for word in words if "=" not in word).lower()
        self.filter = read_filter(kept, part, [word for word in words if "=" in word])
        self.pairs = [(name, value) for name, value in kept.multi_items() if name not in _POSITIONS]
        self.position = {name: kept[name] for name in _POSITIONS if name in kept}
        key = _TIME_AND_UID if self.by_time else _UID
        if len(self.position) > 1 or not all(map(key.fullmatch, self.position.values())):
            raise InvalidQueryError("Invalid page", "Expected the link of a page before or after this one.")

    @property
    def by_time(self) -> bool:
        """True if the list has a state and no other filter. It begins with the latest progress."""
        return bool(self.filter.state) and self.filter == Filter(labels=[], state=self.filter.state)

    @property
    def chosen(self) -> dict[str, str]:
        """The chosen value of each filter that has a list of values."""
        return {name: value for name, value in self.pairs if name in VALUES}

    @property
    def hidden(self) -> Pairs:
        """The parameters that the search field keeps."""
        return [pair for pair in self.pairs if pair[0] != "q"]


def request_list(browsing: Reading, snapshot: StatusSnapshot, asked: ListQuery) -> dict[str, Any]:
    """The content of one page of requests."""
    if asked.by_time:
        page = browsing.latest(asked.filter.state, PAGE_SIZE, **asked.position)
        total = browsing.states().get(asked.filter.state, 0)
        title, count = f"Requests that are {STATES[asked.filter.state]}", f"{total:,}"
    else:
        page = browsing.page(asked.filter, PAGE_SIZE, **asked.position)
        title, count = f"Found for “{asked.search}”" if asked.search else "Requests found", ""
    return {
        "title": title,
        "count": count,
        "lines": [summary_line(record, snapshot.now) for record in page.records],
        "filters": [
            {"name": name, "value": value, "without": _url(asked.pairs[:number] + asked.pairs[number + 1 :])}
            for number, (name, value) in enumerate(asked.pairs)
        ],
        "chosen": asked.chosen,
        "values": VALUES,
        "kept": [(name, value) for name, value in asked.pairs if name not in VALUES],
        "links": _page_links(asked.pairs, page.before, page.after),
    }


def refused_page(query: QueryParams) -> int:
    """The number of the page of refused documents, from 1. Raises InvalidQueryError."""
    refuse_unknown(query, ("page",))
    if re.fullmatch(r"[1-9][0-9]{0,5}", text := query.get("page", "1")) is None:
        raise InvalidQueryError("Invalid page", "Expected the number of a page, from 1.")
    return int(text)


def refusals(browsing: Reading, number: int) -> dict[str, Any]:
    """The documents that the last scan refused, each with a hint. A page that has none any more shows the last one."""
    found = browsing.refusals()
    last = max(1, -(-len(found) // PAGE_SIZE))
    number = min(number, last)
    first = (number - 1) * PAGE_SIZE
    return {
        "refusals": found[first : first + PAGE_SIZE],
        "total": len(found),
        "links": {
            "previous": _url([("page", str(number - 1))]) if number > 1 else "",
            "next": _url([("page", str(number + 1))]) if number < last else "",
        },
    }


def _page_links(pairs: Pairs, before: str | None, after: str | None) -> dict[str, str]:
    return {
        "previous": _url([*pairs, ("before", before)]) if before is not None else "",
        "next": _url([*pairs, ("after", after)]) if after is not None else "",
    }


def _url(pairs: Pairs) -> str:
    """A query for the path of the list. Without parameters it is empty."""
    return f"?{urlencode(pairs)}" if pairs else ""
