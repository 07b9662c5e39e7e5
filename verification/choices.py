"""Decisions with several possible results. Random walks draw numbers, and the exploration takes every way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol, TypeVar

from agent.core.assure_types import Status
from agent.core.effect import CreateProcess, Effect, EffectKind

T = TypeVar("T")


class Choices(Protocol):
    """The source of all decisions."""

    def happens(self, probability: float) -> bool:
        """Decide whether an event with this probability (0 to 1) happens."""

    def choice(self, ways: Sequence[T]) -> T:
        """Choose one of the ways."""

    def call_failure(self, fates: Mapping["CallFailure", float]) -> "CallFailure":
        """Choose the failure of a call, by weight."""

    def jitter(self) -> float:
        """The jitter of an observation, in [0, 1)."""


class RandomChoices:
    """Decisions from random numbers."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def choice(self, ways: Sequence[T]) -> T:
        return self._random.choice(ways)

    def call_failure(self, fates: Mapping["CallFailure", float]) -> "CallFailure":
        return self._random.choices(list(fates), list(fates.values()))[0]

    def jitter(self) -> float:
        return self._random.random()


class CallFailure(StrEnum):
    """The failure of a call."""

    UNFIT = "unfit"  # an image changed after admission, and nothing was sent
    TYPE_GONE = "type gone"  # the document type disappeared, and nothing was sent
    BUSY = "busy"
    REFUSED = "refused"
    MISSING = "missing"  # a passing 404
    VANISHED = "vanished"  # the dossier is permanently deleted (contract §12)
    ACTED = "acted"  # no answer, and the call acted or will act
    LOST = "lost"  # no answer, and the call did not act


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations in seconds. Each is chosen by chance."""

    calls: tuple[float, ...] = (0.0, 0.05, 0.5, 3.0)
    answers: tuple[float, ...] = (0.05, 2.0, 30.0)  # until a failed call ends
    delays: tuple[float, ...] = (0.0, 0.0, 1.0, 10.0, 29.0)  # until a call acts; below REQUEST_TIMEOUT
    whiles: tuple[float, ...] = (0.5, 8.0, 40.0, 400.0)  # for Assure and the end users
    retry_after: tuple[float | None, ...] = (None, 1.0, 20.0)
    people: tuple[int, ...] = (0, 1, 1, 2)  # the number of end users at a capture flow
    verdicts: tuple[Status, ...] = tuple(status for status in Status if status.final)


# For these calls a 404 may be temporary. A deletion and its confirming read get true 404s only.
PASSING_404 = (
    EffectKind.CREATE_PROCESS,
    EffectKind.START_CAPTURE,
    EffectKind.UPLOAD_IMAGES,
    EffectKind.READ_PROCESS,
    EffectKind.COMPARE_IMAGES,
)


def call_failures(effect: Effect) -> dict[CallFailure, float]:
    """The possible failures of this call, by weight."""
    kind = effect.kind
    if kind is EffectKind.VERIFY_IMAGES:
        return {CallFailure.UNFIT: 1.0}
    found = {CallFailure.BUSY: 0.25, CallFailure.ACTED: 0.52, CallFailure.LOST: 0.1, CallFailure.REFUSED: 0.1}
    if kind is EffectKind.UPLOAD_IMAGES:
        found[CallFailure.UNFIT] = 0.1
    if isinstance(effect, CreateProcess) and effect.document_type is not None:
        found[CallFailure.TYPE_GONE] = 0.1
    if kind in PASSING_404:
        found[CallFailure.MISSING] = 0.04
    if hasattr(effect, "dossier_id"):
        found[CallFailure.VANISHED] = 0.05
    return found


def seeds(name: str, count: int) -> Iterator[Random]:
    """Yield independent, repeatable random generators."""
    return (Random(f"{name}/{number}") for number in range(count))
