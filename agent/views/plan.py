"""Describe the difference between a record before and after a step.

This module has no rules of its own. Admission and the state machine decide; this module only compares the two records.
Therefore `plan` and `explain` cannot contradict `run`.
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
from agent.core.source_revision import RefusedRevision
from agent.views.document_diff import DocumentDiff


class Action(StrEnum):
    """The change to a request."""

    CREATE = "create"  # a new name: the agent verifies it
    RERUN = "rerun"  # a new generation
    CHANGE = "change"  # applied in place, nothing starts
    WITHDRAW = "withdraw"  # ended before its result
    REFUSE = "refuse"  # the document is not admitted; the admitted version continues
    HOLD = "hold"  # the operator decides
    NOTHING = "nothing"  # unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of a plan. `name` is empty for a refused document without a name; `line` is 0 without a file."""

    name: str
    action: Action
    reason: str  # a sentence without its full stop
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""  # the remedy for a refusal
    starts: int = 0  # billable starts still to come
    stopped: bool = False  # a withdrawal that waits for the operator's approval
    diff: DocumentDiff | None = None  # None: the file is as it was admitted, or cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecovery:
    """A store in recovery that the operator has not approved. `cause`: lost, older or restored."""

    cause: str
    scanned: bool = False  # the agent has read from Assure what it still has

    @property
    def holds_new_work(self) -> bool:
        """True while no new work may start."""
        return holds_new_work(self.cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRevision:
    """The revision of a plan. `branch` is None if the plan is for a named commit."""

    commit: str
    branch: str | None = None
    refused: RefusedRevision | None = None  # the agent would not act on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All rows, sorted by name, and the state of source and store."""

    changes: tuple[Change, ...]
    complete: bool = True  # every folder and file could be read
    budget_left: int | None = None  # starts that today's budget still allows, or None without a budget
    recovery: PlanRecovery | None = None  # None: the store needs no recovery
    no_store_yet: bool = False  # `run` creates the store, and every request is new
    passed_over: tuple[str, ...] = ()  # files that were probably meant to be request files
    revision: PlannedRevision | None = None  # None: the source is a folder

    @property
    def starts(self) -> int:
        """Billable starts in total."""
        return sum(change.starts for change in self.changes)

    @property
    def stopped(self) -> int:
        """Withdrawals that the prune guard stops."""
        return sum(change.stopped for change in self.changes)

    def of(self, action: Action) -> Sequence[Change]:
        """The rows of one action."""
        return [change for change in self.changes if change.action is action]

    @property
    def refuses(self) -> bool:
        """True if the agent would refuse a document, or the revision."""
        return bool(self.of(Action.REFUSE)) or (self.revision is not None and self.revision.refused is not None)

    @property
    def has_changes(self) -> bool:
        """True if a request would change."""
        return any(change.action not in (Action.NOTHING, Action.REFUSE) for change in self.changes)


def after_restart(record: Record, at: float, policy: Policy) -> Record:
    """The record after a restart: an open intent counts as unanswered, so that it accepts observations."""
    return record if record.intent is None else step(record, Resumed(at=at), policy, request_effect=False).record


def if_changed(record: Record, at: float, policy: Policy) -> tuple[Action, str]:
    """The change that a different file would cause."""
    before = after_restart(record, at, policy)
    other = replace(before.next or before.desired, digest="another", essence="another")
    return planned_action(
        before, step(before, DocumentChanged(at=at, desired=other), policy, request_effect=False).record
    )


def if_removed(record: Record, at: float, policy: Policy) -> tuple[Action, str]:
    """The change that the removal of the file would cause."""
    before = after_restart(record, at, policy)
    return planned_action(before, step(before, DocumentRemoved(at=at), policy, request_effect=False).record)


def planned_action(before: Record | None, after: Record) -> tuple[Action, str]:
    """The action that turned one record into the other, and its reason. `before` is None for a new request."""
    if before is None or _queues_generation(before, after):
        return _new_generation(before, after)
    if after.hold is not None and after.hold.reason.about_document and before.hold != after.hold:
        return Action.HOLD, QUESTIONS[after.hold.reason]
    if before.present and not after.present:
        return _removed(before, after)
    if before.outcome is None and after.outcome is Outcome.WITHDRAWN:
        return Action.WITHDRAW, "the file of the queued generation was removed"
    if changed := _changed(before.desired, after.desired):
        return Action.CHANGE, f"{changed} changed: applied in place, no new start"
    if before.hold is not None and after.hold is None:
        return Action.CHANGE, "the file resolves the hold"
    if before.desired.file != after.desired.file:
        return Action.NOTHING, f"the same document in another file; {describe_progress(after)}"
    if after.present and not before.present:
        return Action.NOTHING, f"the file is back, without a new start; {describe_progress(after)}"
    return Action.NOTHING, describe_progress(after)


def apply_recovery(change: Change, before: Record | None, after: Record, recovery: PlanRecovery) -> Change:
    """A row during a recovery: the agent searches Assure for unfinished requests, and starts no new work."""
    doubtful = before is not None and before.phase is not Phase.DONE and change.action is Action.NOTHING
    if doubtful and not recovery.scanned:
        lost = after.phase is Phase.DOSSIER or has_successor(after)
        change = replace(
            change,
            action=Action.HOLD if lost else Action.NOTHING,
            reason=_SEARCHED_FOR if lost else f"the agent reads its progress from Assure; {change.reason}",
            starts=0 if lost else change.starts,
        )
    if change.starts and recovery.holds_new_work:
        change = replace(change, reason=f"{change.reason}; it starts after `assure-agent approve`", starts=0)
    return change


_SEARCHED_FOR = "adopted if Assure still has its dossier; otherwise held until `assure-agent approve`"
QUESTIONS = {
    HoldReason.CHANGED_AFTER_START: "changed after it was billed or finished: the operator chooses the version",
    HoldReason.REAPPEARED_AFTER_START: "back after it was withdrawn and billed: the operator decides",
}


def remaining_starts(record: Record) -> int:
    """Billable starts still to come for this record without an operator: 0 or 1."""
    if record.next is not None:
        return 0 if record.next.suspend or _is_history_lost(record) else 1
    return 0 if record.blocked or record.billed or record.outcome is not None or not record.present else 1


def describe_progress(record: Record) -> str:
    """The progress of a request in a few words."""
    if record.hold is not None:
        return f"held, {record.hold.reason} ({record.hold.id})"
    if record.phase is Phase.DONE:
        return f"done, {record.outcome}"
    if record.phase is Phase.DELETION and record.outcome is not None:
        return f"{record.outcome}, its dossier will be deleted"
    if record.desired.suspend and not record.billed:
        return "suspended"
    return "waiting for the start budget" if record.queued else f"in phase {record.phase}"


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
        why = "a new rerun token requests another verification"
    elif before.outcome is Outcome.WITHDRAWN:
        why = "back after it was withdrawn before a billed start"
    elif before.billed:
        why = "the operator chose to verify the changed file: it was billed, and is billed again"
    else:
        why = "changed before a billed start: it starts over"
    old = "; the old dossier is deleted first" if before.dossier_id is not None and after.next is not None else ""
    return why + old + _suspended(wanted)


def _suspended(desired: Desired) -> str:
    return "; suspended, so it does not start yet" if desired.suspend else ""


def _removed(before: Record, after: Record) -> tuple[Action, str]:
    if before.outcome is None:
        return Action.WITHDRAW, "the file was removed before the result" + (
            ", and it was billed" if before.billed else ""
        )
    if before.phase is Phase.DELETION:
        return (
            Action.CHANGE,
            f"the file was removed: the dossier is deleted at once, the outcome {before.outcome} stays",
        )
    return Action.NOTHING, f"the file was removed; the outcome {after.outcome} stays"


def _changed(old: Desired, new: Desired) -> str:
    """The changed fields that may change in place; empty if none did."""
    names = ("labels", "retention", "deadline", "suspend")
    fields = [name for name in names if getattr(old, name) != getattr(new, name)]
    if not fields and old.digest != new.digest:
        fields = ["annotations"]
    return " and ".join(filter(None, [", ".join(fields[:-1]), *fields[-1:]]))
