"""Scripted and seeded faults. This module decides which call gets which fault, and `injection` carries it out.

A rule selects calls of one operation by `nth`, `every` or `rate`, or selects every call. It fires at most `count`
times. With `nth` the default count is 1, and a larger count adds the calls after the nth. `*` selects every operation
that the sandbox answers, and `event` selects the events that it sends. The first rule of the list that fires spoils
the call. `latency` and `lagging-reads` spoil nothing and combine with any other rule.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal

from agent.sandbox.model import Json, Operation

ANY = "*"
_NAMES = {"retryAfter": "retry_after"}


class Kind(StrEnum):
    """The kind of a fault."""

    LATENCY = "latency"  # the answer comes `seconds` later; an event is sent so much later
    LAGGING_READS = "lagging-reads"  # a read does not show what was created less than `seconds` ago
    TOO_MANY = "429"  # refused, with Retry-After in the form of `retryAfter`, about `seconds`
    INTERNAL = "500"  # with `acts` the call takes effect nevertheless, as for the next three
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    RESET_BEFORE = "reset-before"  # no effect, and the connection is cut without an answer
    RESET_AFTER = "reset-after"  # the call takes effect, and the connection is cut without an answer
    TRUNCATED = "truncated"  # Content-Length promises more than is sent
    FOREIGN = "foreign"  # well-formed JSON in a shape foreign to Assure, with `status`
    GATEWAY = "gateway"  # an error in the shape of Assure's gateway, with `status`
    HTML = "html"  # an HTML page as proxies send it, with `status`
    HANG = "hang"  # no answer until the client gives up
    REVOKE_TOKEN = "revoke-token"  # noqa: S105 - 401, and the token is invalid from now on
    DROP = "drop"  # an event is never sent
    DOUBLE = "double"  # an event is sent twice, each time until it is acknowledged
    REORDER = "reorder"  # an event is sent after the next event, or `seconds` later when there is none


_HARMLESS = (Kind.LATENCY, Kind.LAGGING_READS)
_NEVER_ACTS = (Kind.TOO_MANY, Kind.RESET_BEFORE, Kind.REVOKE_TOKEN)
_OF_EVENTS = (Kind.DROP, Kind.DOUBLE, Kind.REORDER)
_ACTS = (*_HARMLESS, Kind.RESET_AFTER, Kind.TRUNCATED, Kind.FOREIGN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault and the calls that it affects. `acts` (default by kind): the call takes effect nevertheless."""

    operation: str
    kind: Kind
    nth: int | None = None
    every: int | None = None
    rate: float | None = None
    count: int | None = None
    seconds: float = 1.0
    retry_after: Literal["seconds", "http-date", "none"] = "none"
    status: int = 200
    acts: bool | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that never fires or has two meanings."""
        if self.operation != ANY and self.operation not in list(Operation):
            raise ValueError(f"unknown operation {self.operation!r}: one of *, {', '.join(Operation)}")
        if sum(way is not None for way in (self.nth, self.every, self.rate)) > 1:
            raise ValueError("a rule picks its calls by one of nth, every and rate")
        if any(number is not None and number < 1 for number in (self.nth, self.every, self.count)):
            raise ValueError("nth, every and count start at 1")
        if self.rate is not None and not 0 <= self.rate <= 1:
            raise ValueError("rate is a probability from 0 to 1")
        if self.retry_after not in ("seconds", "http-date", "none"):
            raise ValueError("retryAfter is seconds, http-date or none")
        if self.operation == Operation.EVENT and self.kind not in (Kind.LATENCY, *_OF_EVENTS):
            raise ValueError(f"an event meets latency, {', '.join(_OF_EVENTS)}; not {self.kind}")
        if self.operation != Operation.EVENT and self.kind in _OF_EVENTS:
            raise ValueError(f"{self.kind} is for the operation event")
        if self.acts and self.kind in _NEVER_ACTS:
            raise ValueError(f"{self.kind} never acts")
        if self.acts is False and self.kind in (*_HARMLESS, Kind.RESET_AFTER):
            raise ValueError(f"{self.kind} always acts")

    @property
    def acting(self) -> bool:
        """True if the call takes effect."""
        return self.kind in _ACTS if self.acts is None else self.acts

    @classmethod
    def parse(cls, body: object) -> "Rule":
        """Parse a rule from JSON, with `retryAfter` for `retry_after`. Raise ValueError with the cause."""
        if not isinstance(body, dict):
            raise ValueError("a rule is an object")  # noqa: TRY004 - one error for one bad document
        given: Json = {_NAMES.get(str(name), str(name)): value for name, value in body.items()}
        strange = sorted(set(given) - {entry.name for entry in fields(cls)})
        if strange:
            raise ValueError(f"unknown fields: {', '.join(strange)}")
        try:
            return cls(**given | {"kind": Kind(str(given.get("kind")))})
        except TypeError as error:
            raise ValueError(f"not a rule: {error}") from error

    def row(self) -> Json:
        """The rule as JSON, without what is not set."""
        back = {ours: theirs for theirs, ours in _NAMES.items()}
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {back.get(name, name): value for name, value in given.items() if value is not None}


@dataclass(slots=True)
class _Armed:
    """An active rule, with the number of calls that it saw and affected."""

    rule: Rule
    seen: int = 0
    fired: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """The fault of one call: seconds of latency, seconds of lag, and the rule that spoils it."""

    latency: float = 0.0
    lag: float = 0.0
    rule: Rule | None = None


@dataclass(slots=True)
class Faults:
    """The active rules. The seed determines chance, so the same calls get the same faults."""

    seed: int
    _armed: list[_Armed] = field(default_factory=list)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"faults/{self.seed}")  # noqa: S311 - repeatable, nothing secret

    def add(self, rules: Iterable[Rule]) -> None:
        """Append rules to the active ones. Each counts calls from now on."""
        self._armed.extend(_Armed(rule) for rule in rules)

    def clear(self) -> None:
        """Remove all rules."""
        self._armed.clear()

    def rows(self) -> list[Json]:
        """The active rules with `seen` and `fired`."""
        return [entry.rule.row() | {"seen": entry.seen, "fired": entry.fired} for entry in self._armed]

    def decide(self, operation: str) -> Trouble:
        """Decide the fault of this call. Every rule for the operation counts it, also after another rule fired."""
        latency = lag = 0.0
        spoiled: Rule | None = None
        for entry in self._armed:
            if entry.rule.operation != operation and (entry.rule.operation != ANY or operation == Operation.EVENT):
                continue
            entry.seen += 1
            harmless = entry.rule.kind in _HARMLESS
            if (spoiled and not harmless) or not self._picks(entry):
                continue
            entry.fired += 1
            if entry.rule.kind is Kind.LATENCY:
                latency += entry.rule.seconds
            elif entry.rule.kind is Kind.LAGGING_READS:
                lag = max(lag, entry.rule.seconds)
            else:
                spoiled = entry.rule
        return Trouble(latency, lag, spoiled)

    def _picks(self, entry: _Armed) -> bool:
        rule = entry.rule
        limit = 1 if rule.count is None and rule.nth is not None else rule.count
        if limit is not None and entry.fired >= limit:
            return False
        if rule.nth is not None:
            return entry.seen >= rule.nth
        if rule.every is not None:
            return entry.seen % rule.every == 0
        return rule.rate is None or self._chance.random() < rule.rate
