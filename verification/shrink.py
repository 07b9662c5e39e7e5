"""Reduces a failing plan: removes parts, in ever smaller pieces, while it still fails."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from verification.life_plan import LifePlan

T = TypeVar("T")

_TRIES = 150


class _Patience:
    def __init__(self, tries: int) -> None:
        self.left = tries

    def one(self) -> bool:
        self.left -= 1
        return self.left >= 0


def shrink(plan: LifePlan, fails: Callable[[LifePlan], bool], tries: int = _TRIES) -> LifePlan:
    """The smallest failing plan that was found in this number of tries."""
    patience = _Patience(tries)
    for part in ("requests", "kills", "rules", "outages", "full", "jumps", "requests"):
        fails_with = partial(_fails_with, plan, part, fails)
        plan = _with(plan, part, _fewer(list(getattr(plan, part)), fails_with, patience))
    for number, one in enumerate(plan.requests):
        if one.edits and patience.one():
            bare = [*plan.requests[:number], replace(one, edits=()), *plan.requests[number + 1 :]]
            plan = smaller if fails(smaller := _with(plan, "requests", bare)) else plan
    return plan


def _fails_with(plan: LifePlan, part: str, fails: Callable[[LifePlan], bool], kept: list[T]) -> bool:
    return fails(_with(plan, part, kept))


def _with(plan: LifePlan, part: str, kept: list[T]) -> LifePlan:
    changed: LifePlan = replace(plan, **{part: tuple(kept)})  # type: ignore[arg-type]
    return changed


def _fewer(parts: list[T], fails: Callable[[list[T]], bool], patience: _Patience) -> list[T]:
    """Delta debugging: remove a half, a quarter, ..., one."""
    piece = len(parts)
    while piece >= 1 and parts:
        begin = 0
        while begin < len(parts):
            kept = parts[:begin] + parts[begin + piece :]
            if not patience.one():
                return parts
            if fails(kept):
                parts = kept
            else:
                begin += piece
        piece //= 2
    return parts
