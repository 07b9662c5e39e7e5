"""Decisions that take every way in turn. The caller repeats a move until all ways were taken.

A failure costs one adversity. Without adversities left, nothing fails.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from verification.choices import CallFailure

T = TypeVar("T")


class ExhaustiveChoices:
    """Implements `verification.choices.Choices`. Call `next_path` before each run, until it returns False."""

    def __init__(self, adversities: int = 0) -> None:
        self.left = adversities
        self._adversities = adversities
        self._script: list[int] = []
        self._widths: list[int] = []
        self._at = 0
        self._begun = False

    def next_path(self) -> bool:
        """Prepare the next way. Return False when all were taken."""
        if self._begun:
            while self._script and self._script[-1] + 1 == self._widths[-1]:
                self._script.pop()
                self._widths.pop()
            if not self._script:
                return False
            self._script[-1] += 1
        self._begun, self._at, self.left = True, 0, self._adversities
        return True

    def _pick(self, options: int) -> int:
        if options == 1:
            return 0
        if self._at == len(self._script):
            self._script.append(0)
            self._widths.append(options)
        self._at += 1
        return self._script[self._at - 1]

    def happens(self, probability: float) -> bool:
        """Return False at first. The next path returns True and costs one adversity."""
        if not 0 < probability < 1 or not self.left:
            return False
        happens = self._pick(2) == 1
        self.left -= happens
        return happens

    def choice(self, options: Sequence[T]) -> T:
        different = list(dict.fromkeys(options))
        return different[self._pick(len(different))]

    def call_failure(self, fates: Mapping[CallFailure, float]) -> CallFailure:
        return list(fates)[self._pick(len(fates))]

    def jitter(self) -> float:
        return 0.5
