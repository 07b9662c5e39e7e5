"""The options that select requests: their forms, their meaning, and the error for an unknown value."""

from typing import Any

import pytest

from agent.cli.selectors import OUTCOMES, PHASES, REASONS, STATES, LabelTerm, Selection
from agent.core.errors import WrongUse
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from verification.builders.records import unadmitted, upload

LABELS = {"team": "onboarding", "tier": ""}


def labelled(**fields: Any) -> Record:
    """A record with LABELS."""
    return unadmitted(upload(labels=tuple(LABELS.items())), **fields)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("team=onboarding", True),
        ("team==onboarding", True),
        (" team=onboarding ", True),
        ("team=other", False),
        ("team!=onboarding", False),
        ("team!=other", True),
        ("absent!=onboarding", True),
        ("absent=onboarding", False),
        ("team", True),
        ("absent", False),
        ("!team", False),
        ("!absent", True),
        ("tier=", True),
        ("team=", False),
        ("example.com/team", False),
    ],
)
def test_a_label_term_means_what_it_means_to_kubectl(text: str, matches: bool) -> None:
    assert LabelTerm.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["", "=x", "!team=x", "a=b=c", "team in (a)", "a b"])
def test_text_that_is_no_label_term_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="--selector"):
        LabelTerm.parse(text)


def test_all_labels_must_match_and_one_of_the_values_of_each_option() -> None:
    done = labelled(phase=Phase.DONE, outcome=Outcome.ACCEPTED)
    assert Selection.parse(["team=onboarding,tier"], outcome=["accepted", "rejected"]).matches(done)
    assert not Selection.parse(["team=onboarding", "absent"], outcome=["accepted"]).matches(done)
    assert not Selection.parse(outcome=["rejected"]).matches(done)
    assert not Selection.parse(phase=["result"], outcome=["accepted"]).matches(done)
    assert Selection.parse(phase=["result", "done"], state=["done"]).matches(done)
    assert not Selection.parse(state=["held"]).matches(done)


def test_the_reason_is_that_of_the_hold_or_why_the_request_waits() -> None:
    held = labelled(hold=Hold(id="h-000000", reason=HoldReason.REFUSED, at=1.0))
    queued = labelled(queued=True)
    kept = labelled(phase=Phase.DELETION, outcome=Outcome.ACCEPTED, outcome_at=1.0, delete_at=9.0)
    every = (held, queued, kept, labelled())
    for reason, one in (("refused-by-assure", held), ("budget", queued), ("retention", kept)):
        assert [record for record in every if Selection.parse(reason=[reason]).matches(record)] == [one]


def test_without_options_every_request_is_selected() -> None:
    assert not Selection.parse()
    assert Selection.parse().matches(labelled())
    assert Selection.parse(state=["done"])


@pytest.mark.parametrize(
    ("option", "value", "nearest", "known"),
    [
        ("phase", "resul", "result", PHASES),
        ("state", "hold", "held", STATES),
        ("outcome", "acepted", "accepted", OUTCOMES),
        ("reason", "refused-by-asure", "refused-by-assure", REASONS),
    ],
)
def test_an_unknown_value_is_refused_with_the_nearest_and_all_known_ones(
    option: str, value: str, nearest: str, known: tuple[str, ...]
) -> None:
    with pytest.raises(WrongUse) as refused:
        Selection.parse(**{option: [value]})
    assert str(refused.value) == f"There is no {option} {value!r}. Did you mean {nearest!r}?"
    assert all(one in refused.value.hint for one in known)
    with pytest.raises(WrongUse) as unlike:
        Selection.parse(**{option: ["zzz"]})
    assert str(unlike.value) == f"There is no {option} 'zzz'."
