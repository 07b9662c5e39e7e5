"""Deliberately broken agents. A proof is only worth something if it detects them.

Each mutation breaks one rule. Its docstring describes the broken behaviour.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

from agent.assure import connection
from agent.assure.http.messages import Broken, Reply, Silent
from agent.assure.http.pool import Pool
from agent.controller import orphan_collector, reconciler
from agent.core import audit, machine, next_effect
from agent.core.answer import Trouble
from agent.core.effect import EffectKind
from agent.core.machine import step
from agent.core.observations import Observation, Resumed, TimerFired, VerificationStarted
from agent.core.record import Outcome, Phase, Record
from agent.core.rules import failures, phases, transitions
from agent.core.step import Step
from agent.store import changes

Patch = tuple[object, str, Any]


def _effect_before_intent() -> list[Patch]:
    """The agent performs the effect first, and saves its intent and answer together afterwards."""

    async def drive(self: reconciler.Reconciler, record: Record) -> None:
        kind = TimerFired if record.intent is None else Resumed
        seen: Observation | None = kind(at=self._clock.now(), jitter=self._chance())
        steps: list[Step] = []
        try:
            while seen is not None:
                taken = step(record, seen, self._policy, request_effect=not self._stopping)
                steps += [taken] if taken.changed else []
                record = taken.record
                seen = None if taken.effect is None else await self._interpreter.perform(taken.effect)
                if taken.effect is None or not taken.effect.kind.mutates:
                    for one in steps:
                        await self._commit([one])
                    steps = []
        finally:
            del self._driven[record.uid]
            self._wake.set()

    return [(reconciler.Reconciler, "_drive", drive)]


def _start_again_after_unknown() -> list[Patch]:
    """The agent sends a start again after a lost answer."""
    doubted = failures._start_doubt

    def forgetful(record: Record, intent: Any, seen: Any, policy: Any) -> Record:
        after = doubted(record, intent, seen, policy)
        if intent.kind is not EffectKind.START_VERIFICATION:
            return after
        return replace(after, doubt=None, doubt_since=None, pending=True)

    return [(failures, "_start_doubt", forgetful)]


def _create_again_after_unknown() -> list[Patch]:
    """The agent does not search for a dossier after an unanswered create call."""
    doubted = failures._start_doubt

    def forgetful(record: Record, intent: Any, seen: Any, policy: Any) -> Record:
        after = doubted(record, intent, seen, policy)
        return replace(after, doubt=None, doubt_since=None) if intent.kind is EffectKind.CREATE_DOSSIER else after

    return [(failures, "_start_doubt", forgetful)]


def _single_read_suffices() -> list[Patch]:
    """One read that returns `pending` suffices as proof that a start did not happen."""

    def hasty(record: Record, seen: Any, policy: Any) -> Record:
        return replace(record, pending=True, doubt=None, doubt_since=None, pending_since=None, not_before=0.0)

    return [(phases, "_pending_read", hasty)]


def _orphans_are_forgotten() -> list[Patch]:
    """The agent does not record a missing dossier as a possible orphan."""
    return [(machine, "possible_orphan", lambda before, seen, after, policy: None)]


def _no_orphan_collection() -> list[Patch]:
    """The agent records possible orphans, and closes them without a search."""

    async def sweep(self: orphan_collector.OrphanCollector) -> int:
        for reference, _, _ in await self._store.orphans():
            await self._store.close_orphan(reference, self._clock.now(), None)
        return 0

    return [(orphan_collector.OrphanCollector, "sweep", sweep)]


def _deleted_before_the_result() -> list[Patch]:
    """The agent deletes the dossier right after the start, and guesses the outcome."""
    started = machine.TABLE[Phase.VERIFICATION]
    row = started[VerificationStarted]

    def hasty(record: Record, seen: Any, policy: Any) -> Record:
        succeeded = replace(record, not_before=0.0, **transitions.SUCCEEDED)
        return transitions.start_deletion(succeeded, seen.at, Outcome.ACCEPTED)

    quick = replace(row, rule=hasty, to=(Phase.DELETION,))
    return [
        (
            machine,
            "TABLE",
            {**machine.TABLE, Phase.VERIFICATION: {**started, VerificationStarted: quick}},
        )
    ]


def _never_due_again() -> list[Patch]:
    """A request that waits after a failure has no due time."""
    due = next_effect.next_due_at

    def never(record: Record, at: float, policy: Any) -> float | None:
        return None if record.failures and record.intent is None and record.doubt is None else due(record, at, policy)

    return [(machine, "next_due_at", never)]


def _history_with_a_hole() -> list[Patch]:
    """The audit log misses the result of a process."""
    difference = audit.difference

    def partial(before: Record, after: Record) -> dict[str, Any]:
        return {key: value for key, value in difference(before, after).items() if key != "processId"}

    return [(machine, "difference", partial)]


def _torn_commit() -> list[Patch]:
    """The store writes the record without its attempt."""
    return [(changes, "_add_attempts", lambda rows, step: None)]


def _broken_counts_as_unsent() -> list[Patch]:
    """The agent takes a connection that ended for proof that the request was not sent."""
    return [(connection, "_TROUBLES", {**connection._TROUBLES, Broken: Trouble.CONNECT})]


def _silence_counts_as_unsent() -> list[Patch]:
    """The agent takes the end of its patience for proof that the request was not sent."""
    return [(connection, "_TROUBLES", {**connection._TROUBLES, Silent: Trouble.CONNECT})]


def _sent_again() -> list[Patch]:
    """The pool sends a request again if its connection ended, as many HTTP clients do."""
    send = Pool.send

    async def twice(self: Pool, *request: Any) -> Reply:
        try:
            return await send(self, *request)
        except Broken:
            return await send(self, *request)

    return [(Pool, "send", twice)]


MUTATIONS: dict[str, tuple[Callable[[], list[Patch]], str, tuple[str, ...]]] = {
    "effect-before-intent": (_effect_before_intent, "I4", ("crash", "simulate")),
    "start-again-after-unknown": (_start_again_after_unknown, "I2", ("explore", "crash", "simulate")),
    "create-again-after-unknown": (_create_again_after_unknown, "I3", ("explore", "crash", "simulate")),
    "single-read-suffices": (_single_read_suffices, "I2", ("explore", "crash", "simulate")),
    "orphans-are-forgotten": (_orphans_are_forgotten, "I3", ("explore", "crash", "simulate")),
    "no-orphan-collection": (_no_orphan_collection, "I3", ("crash", "simulate")),
    "deleted-before-the-result": (_deleted_before_the_result, "result", ("explore", "crash", "simulate")),
    "never-due-again": (_never_due_again, "I1", ("explore", "crash", "simulate")),
    "history-with-a-hole": (_history_with_a_hole, "I5", ("explore", "crash", "simulate")),
    "torn-commit": (_torn_commit, "I5", ("crash", "simulate")),
    "broken-counts-as-unsent": (_broken_counts_as_unsent, "I3", ("crash", "simulate", "chaos")),
    "silence-counts-as-unsent": (_silence_counts_as_unsent, "I3", ("crash", "simulate", "chaos")),
    "sent-again": (_sent_again, "I2", ("chaos", "fuzz")),
}
"""Each mutation, the invariant that it breaks, and the proofs that must detect it."""


@contextlib.contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Break the agent in this way while the block runs. None: change nothing."""
    with contextlib.ExitStack() as patches:
        for where, what, instead in MUTATIONS[name][0]() if name else ():
            patches.enter_context(mock.patch.object(where, what, instead))
        yield
