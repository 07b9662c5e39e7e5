"""GET /processes: its parameters and the processes that match (contract §9)."""

import calendar
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.sandbox.model import STATUSES, Json, Process, bad_request

LISTED_SECONDS = 30 * 24 * 3600  # it covers the last 30 days


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """The parameters of GET /processes (contract §9). Times are epoch seconds. Empty `statuses` selects all."""

    start: int
    end: int | None
    statuses: tuple[str, ...]
    offset: int
    limit: int
    ascending: bool
    filters: Json

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "ListQuery":
        """Parse the query. The last value of a repeated name counts, except for `status`."""
        last = {name: values[-1] for name, values in query.items() if values}
        start = _time("startCreationDate", last.get("startCreationDate"))
        end = _time("endCreationDate", last["endCreationDate"]) if "endCreationDate" in last else None
        if end is not None and start > end:
            raise bad_request("startCreationDate should be <= endCreationDate.")
        statuses = tuple(_statuses(query.get("status", ())))
        offset = _number("offset", last.get("offset", "0"), 0, 200_000)
        limit = _number("limit", last.get("limit", "100"), 1, 2000)
        order = last.get("order", "createdAtDescending")
        # The name of the ascending order is [inferred] (contract §9).
        if order not in ("createdAtDescending", "createdAtAscending"):
            raise bad_request("order is not valid.")
        given = ("startCreationDate", "endCreationDate")
        dates: Json = {name: last[name] for name in given if name in last}
        return cls(
            start=start,
            end=end,
            statuses=statuses,
            offset=offset,
            limit=limit,
            ascending=order == "createdAtAscending",
            filters={**dates, "statusList": [*statuses], "offset": offset, "limit": limit, "order": order},
        )

    def select(self, processes: Iterable[Process], now: float, latest: float) -> list[Process]:
        """All matching processes by creation time: those created in the last 30 days and not after `latest`."""
        first = max(self.start, now - LISTED_SECONDS)
        end = latest if self.end is None else min(self.end, latest)
        # The client sees createdAt in whole seconds, so it can only ask in whole seconds.
        found = [
            process
            for process in processes
            if first <= int(process.created_at) <= end
            and process.created_at <= latest
            and (not self.statuses or process.status(now) in self.statuses)
        ]
        found.sort(key=lambda process: process.created_at)
        return found if self.ascending else found[::-1]


def _time(name: str, text: str | None) -> int:
    try:
        return calendar.timegm(time.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise bad_request(f"{name} is required as YYYY-MM-DDThh:mm:ssZ.") from None


def _statuses(given: Iterable[str]) -> Iterable[str]:
    for status in dict.fromkeys(given):
        if status not in ("", *STATUSES):
            raise bad_request("status must be valid.")
        if status:
            yield status


def _number(name: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise bad_request(f"{name} must be a number from {low} to {high}.")
    return int(text)
