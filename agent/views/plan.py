"""What a step comes to, in the words of people: two records compared, the one before and the one after.

No rules stand here. What follows from a document is decided by `admission.py` and by the machine; this module looks at
what they made of a record and says it, so that `plan` and `explain` cannot say one thing and `run` do another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.core.machine import step
from agent.core.observations import DocumentChanged, DocumentRemoved, Resumed
from agent.core.policy import Policy
from agent.core.record import Desired, HoldReason, Outcome, Phase, Record
from agent.core.retry import holds_new_work
from agent.core.rules.transitions import has_successor


class Action(StrEnum):
    """What becomes of a request."""

    CREATE = "create"  # a name never seen: it is verified
    RERUN = "rerun"  # a fresh verification under a new generation
    CHANGE = "change"  # applied in place, nothing starts
    WITHDRAW = "withdraw"  # given up before its result
    REFUSE = "refuse"  # the document is not admitted; what was admitted before goes on
    HOLD = "hold"  # a person is asked
    NOTHING = "nothing"  # it goes on as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of a plan. `name` is empty where a refused document has none; `line` is 0 where there is no file."""

    name: str
    action: Action
    reason: str  # a sentence without its full stop
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""  # what to try about a refusal
    starts: int = 0  # billable starts that are still to come
    stopped: bool = False  # a withdrawal that waits for a person's approval


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecovery:
    """A store that is not what it was, and no person approved yet. `cause`: lost, older or restored."""

    cause: str
    scanned: bool = False  # Assure was asked what it still has

    @property
    def holds_new_work(self) -> bool:
        """True while nothing may be begun."""
        return holds_new_work(self.cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All rows, by name; and whether everything could be seen."""

    changes: tuple[Change, ...]
    complete: bool = True  # a folder or file that could not be read withdraws nothing
    budget_left: int | None = None  # starts that today's budget still allows; None: there is no budget
    recovery: PlanRecovery | None = None  # None: the store is what it was
    no_store_yet: bool = False  # there is no store yet: `run` makes one, to which every request is new
    passed_over: tuple[str, ...] = ()  # files that were probably meant to be request files

    @property
    def starts(self) -> int:
        """Billable starts in all."""
        return sum(change.starts for change in self.changes)

    @property
    def stopped(self) -> int:
        """Withdrawals that the guard stops."""
        return sum(change.stopped for change in self.changes)

    def of(self, action: Action) -> Sequence[Change]:
        """The rows of one kind."""
        return [change for change in self.changes if change.action is action]

    @property
    def has_changes(self) -> bool:
        """True when something would change."""
        return any(change.action not in (Action.NOTHING, Action.REFUSE) for change in self.changes)


def after_restart(record: Record, at: float, policy: Policy) -> Record:
    """The record as a restart finds it: an open effect counts as unknown, so that observations can be folded in."""
    return record if record.intent is None else step(record, Resumed(at=at), policy, request_effect=False).record


def if_changed(record: Record, at: float, policy: Policy) -> tuple[Action, str]:
    """What would follow if the file now asked for something else."""
    before = after_restart(record, at, policy)
    other = replace(before.next or before.desired, digest="another", essence="another")
    return planned_action(
        before, step(before, DocumentChanged(at=at, desired=other), policy, request_effect=False).record
    )


def if_removed(record: Record, at: float, policy: Policy) -> tuple[Action, str]:
    """What would follow if the file were removed now."""
    before = after_restart(record, at, policy)
    return planned_action(before, step(before, DocumentRemoved(at=at), policy, request_effect=False).record)


def planned_action(before: Record | None, after: Record) -> tuple[Action, str]:
    """What the difference means, and why. `before` is None for a request that is new."""
    if before is None or _queues_generation(before, after):
        return _new_generation(before, after)
    if after.hold is not None and after.hold.reason.about_document and before.hold != after.hold:
        return Action.HOLD, QUESTIONS[after.hold.reason]
    if before.present and not after.present:
        return _removed(before, after)
    if before.outcome is None and after.outcome is Outcome.WITHDRAWN:
        return Action.WITHDRAW, "what was asked for anew is not wanted any more"
    if changed := _changed(before.desired, after.desired):
        return Action.CHANGE, f"{changed} changed: applied in place, nothing starts"
    if before.hold is not None and after.hold is None:
        return Action.CHANGE, "the file answers the question that was asked"
    if before.desired.file != after.desired.file:
        return Action.NOTHING, f"the same document, now in another file; {describe_progress(after)}"
    if after.present and not before.present:
        return Action.NOTHING, f"the file is back, and nothing starts; {describe_progress(after)}"
    return Action.NOTHING, describe_progress(after)


def apply_recovery(change: Change, before: Record | None, after: Record, recovery: PlanRecovery) -> Change:
    """What a recovery makes of a row: what is not done is looked for at Assure, and from a copy nothing is begun."""
    doubtful = before is not None and before.phase is not Phase.DONE and change.action is Action.NOTHING
    if doubtful and not recovery.scanned:
        lost = after.phase is Phase.DOSSIER or has_successor(after)
        change = replace(
            change,
            action=Action.HOLD if lost else Action.NOTHING,
            reason=_SEARCHED_FOR if lost else f"Assure is asked how far it is; {change.reason}",
            starts=0 if lost else change.starts,
        )
    if change.starts and recovery.holds_new_work:
        change = replace(change, reason=f"{change.reason}; nothing is begun before `assure-agent approve`", starts=0)
    return change


_SEARCHED_FOR = "adopted if Assure still has it; held otherwise, until `assure-agent approve`"
QUESTIONS = {
    HoldReason.CHANGED_AFTER_START: "changed after it was billed or finished: a person decides which document counts",
    HoldReason.REAPPEARED_AFTER_START: "back after it was withdrawn and billed: a person decides",
}


def remaining_starts(record: Record) -> int:
    """Billable starts that this record still leads to by itself: 0 or 1."""
    if record.next is not None:
        return 0 if record.next.suspend or _is_history_lost(record) else 1
    return 0 if record.blocked or record.billed or record.outcome is not None or not record.present else 1


def describe_progress(record: Record) -> str:
    """Where it is, in a few words."""
    if record.hold is not None:
        return f"held, {record.hold.reason} ({record.hold.id})"
    if record.phase is Phase.DONE:
        return f"done, {record.outcome}"
    if record.phase is Phase.DELETION and record.outcome is not None:
        return f"{record.outcome}, its dossier is to be deleted"
    if record.desired.suspend and not record.billed:
        return "suspended"
    return "waits for the start budget" if record.queued else f"in phase {record.phase}"


def _new_generation(before: Record | None, after: Record) -> tuple[Action, str]:
    if _is_history_lost(after):
        return Action.HOLD, _SEARCHED_FOR
    if before is None:
        return Action.CREATE, "new" + _suspended(after.desired)
    return Action.RERUN, _rerun_reason(before, after)


def _is_history_lost(record: Record) -> bool:
    return record.hold is not None and record.hold.reason is HoldReason.HISTORY_LOST


def _queues_generation(before: Record, after: Record) -> bool:
    if after.generation != before.generation:
        return True
    return after.next is not None and (before.next is None or before.next.digest != after.next.digest)


def _rerun_reason(before: Record, after: Record) -> str:
    wanted = after.next or after.desired
    if wanted.rerun is not None and not before.has_applied_rerun(wanted.rerun):
        why = "a new rerun token asks for a fresh verification"
    elif before.outcome is Outcome.WITHDRAWN:
        why = "back after it was withdrawn, and nothing was billed"
    elif before.billed:
        why = "a person said to verify the changed file: it was billed, and is billed once more"
    else:
        why = "changed before anything was billed: it starts over"
    old = "; the old dossier is deleted first" if before.dossier_id is not None and after.next is not None else ""
    return why + old + _suspended(wanted)


def _suspended(desired: Desired) -> str:
    return "; suspended, so nothing starts yet" if desired.suspend else ""


def _removed(before: Record, after: Record) -> tuple[Action, str]:
    if before.outcome is None:
        return Action.WITHDRAW, "the file is gone before the result" + (", and it was billed" if before.billed else "")
    if before.phase is Phase.DELETION:
        return Action.CHANGE, f"the file is gone: the dossier is deleted at once, the outcome {before.outcome} stands"
    return Action.NOTHING, f"the file is gone; the outcome {after.outcome} stands"


def _changed(old: Desired, new: Desired) -> str:
    """What changed of that which may change in place; empty when nothing did."""
    names = ("labels", "retention", "deadline", "suspend")
    fields = [name for name in names if getattr(old, name) != getattr(new, name)]
    if not fields and old.digest != new.digest:
        fields = ["annotations"]
    return " and ".join(filter(None, [", ".join(fields[:-1]), *fields[-1:]]))
