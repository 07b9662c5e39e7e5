"""A step: the result of one observation, with everything that the store has to write.

The state machine makes steps (`agent/core/machine.py`). Every decision about a write is here, and it follows from the
two records alone. The store only translates a step into SQL.
"""

from dataclasses import dataclass, replace

from agent.core.answer import CallResult
from agent.core.attempt import Attempted
from agent.core.audit import Event
from agent.core.effect import Effect, EffectKind, ImageRef
from agent.core.notifications import Notice, notices
from agent.core.observations import EncryptedClaims
from agent.core.record import Hold, Intent, Origin, Phase, Record

GenerationOrigin = tuple[int, str, Origin]  # generation, file, origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A billable start. `process_id` is None for a capture."""

    process_id: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One increment of a persistent counter."""

    counter: str  # start | outcome
    mode: str
    process_type: str
    outcome: str = ""


@dataclass(slots=True, kw_only=True)  # not frozen: its many fields would cost 4 % of a step
class Step:
    """The result of one observation. Its fields never change.

    The fields and the properties are written in one transaction. Only then is `effect` performed [I4].
    """

    before: Record | None
    record: Record
    events: tuple[Event, ...] = ()
    effect: Effect | None = None
    orphan: str | None = None  # the reference of a dossier that may still appear at Assure
    link: str | None = None  # a capture link, for its own table only [I6]
    encrypted_claims: EncryptedClaims | None = None  # for their own table only [I6]
    answered: Attempted | None = None  # the answer to the open intent
    call_result: tuple[CallResult, str] | None = None  # result class and trace id of the call or read, for the log

    @property
    def changed(self) -> bool:
        """True if there is something to commit."""
        return self.record is not self.before

    @property
    def commit_later(self) -> bool:
        """True if a read follows and the step may be committed with its answer: `committed_together`.

        Either only the pace changed, or Assure answered the deletion of the dossier. After a crash before that commit,
        the agent repeats the read, or the deletion, whose 404 counts as deleted.
        """
        if not self.changed or self.effect is None or self.effect.kind.mutates:
            return False
        return self.record.deleted if self.answered is not None else not self.events

    @property
    def at(self) -> float:
        """The time of the last event. A step that has anything to write here has an event."""
        return self.events[-1].at

    @property
    def answered_at(self) -> float:
        """The time of the answer, which is the first event of a step that has one."""
        return self.events[0].at

    @property
    def next_generation(self) -> bool:
        """True if this step begins a generation; also the first."""
        return self.before is None or self.before.generation != self.record.generation

    @property
    def progressed(self) -> bool:
        """True for a new phase, a new generation or a successful call. Repeated failures do not count."""
        if self.before is None:
            return True
        if not self.events:
            return False
        moved = self.next_generation or self.before.phase is not self.record.phase
        return moved or (self.answered is not None and self.answered.result is CallResult.DONE)

    @property
    def held(self) -> Hold | None:
        """The hold that began with this step. A hold whose evidence changed is not a new one."""
        before, hold = self.before, self.record.hold
        known = before is not None and before.hold is not None and hold is not None and before.hold.id == hold.id
        return None if known else hold

    @property
    def withdraws(self) -> bool:
        """True if the file was removed before the outcome: the prune guard counts it in any case."""
        before = self.before
        return before is not None and before.present and not self.record.present and before.outcome is None

    @property
    def intended(self) -> Intent | None:
        """The intent that this step opens."""
        before, intent = self.before, self.record.intent
        known = before is not None and (before.intent is intent or before.intent == intent)
        return None if known else intent

    @property
    def reserved_at(self) -> float | None:
        """When this step reserved a start of the daily budget."""
        reserved = self.record.reserved_at
        return None if self.before is not None and self.before.reserved_at == reserved else reserved

    @property
    def start(self) -> Start | None:
        """The billable start: the intent to start a verification, or the capture link."""
        process_id, intent = self.record.process_id, self.intended
        if process_id is None:
            return Start(process_id=None, at=self.at) if self._billed else None
        if intent is None or intent.kind is not EffectKind.START_VERIFICATION:
            return None
        return Start(process_id=process_id, at=intent.at)

    @property
    def counts(self) -> tuple[Count, ...]:
        """The increments of the persistent counters."""
        outcome = None if self._outcome_known else self.record.outcome
        billed = self._billed
        if outcome is None and not billed:
            return ()
        mode, process_type = self.record.desired.mode, self.record.desired.process_type
        counts = [Count(counter="start", mode=mode, process_type=process_type)] if billed else []
        if outcome is not None:
            counts.append(Count(counter="outcome", mode=mode, process_type=process_type, outcome=outcome))
        return tuple(counts)

    @property
    def notifications(self) -> tuple[Notice, ...]:
        """The notices for the web application, in order. A step without an event has none."""
        if not self.events:
            return ()
        return tuple(notices(self.before, self.record, self.at, self.link is not None, self.held))

    @property
    def origins(self) -> tuple[GenerationOrigin, ...]:
        """The origins of the current and the next document, if this step brings them."""
        before, record = self.before, self.record
        if before is None:
            return _origins(record)
        if before.desired is record.desired and before.next is record.next and not self.next_generation:
            return ()
        known = _origins(before)
        return tuple(origin for origin in _origins(record) if origin not in known)

    @property
    def name_changed(self) -> bool:
        """True if the name is new or changed."""
        return self.before is None or self.before.name != self.record.name

    @property
    def labels_changed(self) -> bool:
        """True if the labels are new or changed."""
        return self.before is None or self.before.desired.labels != self.record.desired.labels

    @property
    def link_expires(self) -> bool:
        """True if the end user's capture link is of no further use."""
        before = self.before
        return before is not None and before.phase is Phase.RESULT and self.record.phase is not Phase.RESULT

    @property
    def images_deletable(self) -> bool | None:
        """True: the images of the record are to be deleted from now on. False: no longer. None: no change."""
        before, now = self.before is not None and _deletes_images(self.before), _deletes_images(self.record)
        return None if before is now else now

    @property
    def superseded_images(self) -> tuple[ImageRef, ...]:
        """The images of the ended generation that the agent deletes: those that the new one does not name."""
        before = self.before
        if before is None or not before.discard or not self.next_generation:
            return ()
        needed = {(image.path, image.sha256) for image in self.record.desired.images}
        return tuple(image for image in before.desired.images if (image.path, image.sha256) not in needed)

    @property
    def _billed(self) -> bool:
        """True if this step makes its generation billable."""
        before = self.before
        if before is None or not self.record.billed:
            return False
        return not before.billed or before.generation != self.record.generation

    @property
    def _outcome_known(self) -> bool:
        return self.before is None or (not self.next_generation and self.before.outcome is not None)


def committed_together(first: Step, second: Step) -> Step:
    """Both steps as one. `first` may be committed later, so `second` has the answer to its read."""
    return replace(
        second, before=first.before, events=first.events + second.events, answered=first.answered or second.answered
    )


def _deletes_images(record: Record) -> bool:
    return record.discard and record.outcome is not None


def _origins(record: Record) -> tuple[GenerationOrigin, ...]:
    both = ((record.generation, record.desired), (record.generation + 1, record.next))
    return tuple(
        (generation, desired.file, desired.origin)
        for generation, desired in both
        if desired is not None and desired.origin is not None
    )
