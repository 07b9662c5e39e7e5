"""Selectors: the options that choose requests by labels, phase, state, outcome and reason."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

import typer

from agent.core.errors import WrongUse, did_you_mean
from agent.core.record import HoldReason, Outcome, Phase, Record, State
from agent.views.resource import BUDGET, RETENTION, reason_of

PHASES = tuple(phase.value for phase in Phase)
STATES: tuple[str, ...] = get_args(State)
OUTCOMES = tuple(outcome.value for outcome in Outcome)
REASONS = (*(reason.value for reason in HoldReason), BUDGET, RETENTION)

_LABEL_TERM = re.compile(r"(?P<absent>!)?(?P<key>[^=!\s]+)|(?P<name>[^=!\s]+)(?P<operator>==?|!=)(?P<value>[^=!\s]*)")


def _one_of(what: str, values: Sequence[str], only: str) -> Any:
    """The repeatable option of a field with these values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return typer.Option(f"--{what}", metavar=what.upper(), help=f"{only} (repeatable).", autocompletion=complete)


SelectorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--selector",
        "-l",
        metavar="LABELS",
        help="Only with these labels: key=value, key!=value or key, comma-separated.",
    ),
]
PhaseOption = Annotated[list[str] | None, _one_of("phase", PHASES, "Only in this phase")]
StateOption = Annotated[list[str] | None, _one_of("state", STATES, "Only in this state")]
OutcomeOption = Annotated[list[str] | None, _one_of("outcome", OUTCOMES, "Only with this outcome")]
ReasonOption = Annotated[list[str] | None, _one_of("reason", REASONS, "Only with this reason")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTerm:
    """A condition on one label. `value` is None if any value will do."""

    key: str
    value: str | None
    wanted: bool  # False: the label must not exist, or must have another value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `key=value`, `key==value`, `key!=value`, `key` or `!key`, as kubectl. Raises WrongUse."""
        found = _LABEL_TERM.fullmatch(text.strip())
        if found is None:
            raise WrongUse(f"--selector: {text!r} selects no label.", "-l key=value, key!=value, key or !key")
        if found["key"] is not None:
            return cls(key=found["key"], value=None, wanted=found["absent"] is None)
        return cls(key=found["name"], value=found["value"], wanted=found["operator"] != "!=")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """True if the labels fulfil the condition."""
        found = labels.get(self.key)
        return (found is not None if self.value is None else found == self.value) is self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The requests that have all labels, and one of the values of each option that was given. Empty: all requests."""

    labels: tuple[LabelTerm, ...] = ()
    phases: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    outcomes: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()

    @classmethod
    def parse(
        cls,
        selector: Sequence[str] | None = None,
        phase: Sequence[str] | None = None,
        state: Sequence[str] | None = None,
        outcome: Sequence[str] | None = None,
        reason: Sequence[str] | None = None,
    ) -> Self:
        """The selection of the options. Raises WrongUse, with the known values, for an unknown one."""
        return cls(
            labels=tuple(LabelTerm.parse(term) for text in selector or () for term in text.split(",")),
            phases=_known("phase", phase, PHASES),
            states=_known("state", state, STATES),
            outcomes=_known("outcome", outcome, OUTCOMES),
            reasons=_known("reason", reason, REASONS),
        )

    def __bool__(self) -> bool:
        """True if an option was given."""
        return self != Selection()

    def matches(self, record: Record) -> bool:
        """True if the request belongs to the selection."""
        labels = dict(record.desired.labels)
        return (
            all(term.matches(labels) for term in self.labels)
            and (not self.phases or record.phase in self.phases)
            and (not self.states or record.state in self.states)
            and (not self.outcomes or record.outcome in self.outcomes)
            and (not self.reasons or reason_of(record) in self.reasons)
        )


def _known(what: str, given: Sequence[str] | None, known: Collection[str]) -> frozenset[str]:
    for value in given or ():
        if value not in known:
            *most, last = known
            raise WrongUse(
                f"There is no {what} {value!r}.{did_you_mean(value, known)}", f"--{what} {', '.join(most)} or {last}"
            )
    return frozenset(given or ())
