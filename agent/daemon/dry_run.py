"""The plan: the changes that `run` would make, found by running admission on a store in memory.

The plan uses the same admission and the same state machine as `run`, on the source folder and a read-only snapshot of
the store. As after a restart, each absence is proved by two scans, and an open call counts as unanswered. The plan
writes nothing and does not call Assure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from agent.admission import Admission, AdmissionRules, SyncResult
from agent.admission.changes import DocumentDiffer
from agent.admission.request_source import RequestSource
from agent.assure.document_type_cache import DocumentTypeCache, OfflineDocumentTypes
from agent.controller.start_budget import StartBudget
from agent.core.errors import AgentError, Impossible
from agent.core.policy import Policy
from agent.core.record import Record
from agent.core.step import Step
from agent.daemon.offline_records import OfflineRecords
from agent.ports import Clock, IdentityKey, MetaKey, Receipt
from agent.source.diagnostics import Fault
from agent.source.loader import Document
from agent.store.reading.reading import Reading
from agent.views.document_diff import DocumentDiff, document_diff
from agent.views.plan import (
    Action,
    Change,
    Plan,
    PlanRecovery,
    after_restart,
    apply_recovery,
    describe_progress,
    planned_action,
    remaining_starts,
)

T = TypeVar("T")
_CHUNK = 500  # requests for each read of the store
_MAX_SCANS = 10  # two are enough unless files change during the plan


class DryRun:
    """One dry run. `reading` is None if there is no store yet."""

    def __init__(
        self,
        source: RequestSource,
        rules: AdmissionRules,
        reading: Reading | None,
        identity_key: IdentityKey,
        clock: Clock,
        policy: Policy,
        limit: int = 0,
        recovery: PlanRecovery | None = None,
    ) -> None:
        self._recovery = recovery
        self._first = reading is None and recovery is None
        policy = replace(policy, recovering=recovery is not None)
        self._clock = clock
        self._limit = limit  # starts a day, or 0 without a budget
        self._rules = rules
        self._identity_key = identity_key
        self.store = OverlayStore(reading, clock.now(), policy)
        unconfirmed = policy.clock_unconfirmed or not clock.confirmed
        current = replace(policy, started_at=clock.now(), clock_unconfirmed=unconfirmed)
        records = OfflineRecords(self.store, clock, current)
        self._differ = DocumentDiffer(rules, self.store, identity_key, clock)
        types = DocumentTypeCache(OfflineDocumentTypes(), self.store, clock)
        self._admission = Admission(source, rules, self.store, records, identity_key, types, clock)

    async def plan(self) -> Plan:
        """Scan until each absence is proved, and report the changes. Raises AgentError if the folder is missing."""
        for _ in range(_MAX_SCANS):
            synced = await self._admission.scan()
            if synced is None or (synced.scan.retry_after is None and not synced.absent):
                break
        assert synced is not None  # without a turn, it always scans
        if (error := synced.scan.error) is not None:
            raise AgentError(f"{error.message[0].upper()}{error.message[1:]}.", error.hint)
        budget = StartBudget(self._limit, self.store, self._clock)
        await budget.count()
        present = await self.store.present(self._rules.source)
        changes = [*self._refused_rows(synced), *self._present_rows(synced), *self._removed_rows(synced, present)]
        return Plan(
            changes=tuple(sorted(changes, key=lambda change: (change.name, change.file, change.line))),
            complete=synced.scan.complete,
            budget_left=budget.left,
            recovery=self._recovery,
            no_store_yet=self._first,
            passed_over=synced.scan.passed_over,
        )

    def _row(self, change: Change, before: Record | None, after: Record) -> Change:
        return change if self._recovery is None else apply_recovery(change, before, after, self._recovery)

    def _diff(self, before: Record | None, document: Document) -> DocumentDiff | None:
        """The difference between a document and its record. The model of an unchanged document is not parsed."""
        admitted = None if before is None else before.next or before.desired
        if admitted is not None and admitted.digest == self._identity_key.digest(document.canonical):
            return None
        return document_diff(before, self._differ.desired_as_written(document))

    def _present_rows(self, synced: SyncResult) -> Iterable[Change]:
        """One row for each document that admission accepts."""
        refused = {fault.name for fault in synced.refusals}
        accepted = ((self._uid(name), name) for name in synced.scan.documents if name not in refused)
        for (_, name), before, after in self._states(accepted):
            document = synced.scan.documents[name]
            assert after is not None
            action, reason = planned_action(before, after)
            change = Change(
                name=name,
                action=action,
                reason=reason,
                file=document.file,
                line=document.line,
                starts=remaining_starts(after),
                diff=self._diff(before, document) if before is not None else document_diff(None, after.desired),
            )
            yield self._row(change, before, after)

    def _refused_rows(self, synced: SyncResult) -> Iterable[Change]:
        """One row for each document that admission refuses, with its first fault."""
        first: dict[tuple[str, str | int], list[Fault]] = {}
        for fault in synced.refusals:
            first.setdefault((fault.file, fault.name or fault.line), []).append(fault)
        by_uid = ((self._uid(faults[0].name), faults) for faults in first.values())
        for (_, faults), before, after in self._states(by_uid):
            fault, more = faults[0], len(faults) - 1
            reason = fault.message + (f" (and {more} more)" if more else "")
            document = synced.scan.documents.get(fault.name or "")
            if after is not None and after.present:
                reason += f"; the admitted document continues, {describe_progress(after)}"
            yield Change(
                name=fault.name or "",
                action=Action.REFUSE,
                reason=reason,
                file=fault.file,
                line=fault.line,
                column=fault.column,
                hint=fault.hint,
                starts=remaining_starts(after) if after is not None else 0,
                diff=self._diff(before, document) if document is not None else None,
            )

    def _removed_rows(self, synced: SyncResult, present: Mapping[str, str]) -> Iterable[Change]:
        """One row for each request that had a file and is in no file that could be read."""
        lacking = ((uid, name) for name, uid in present.items() if synced.scan.lacks(name))
        for (uid, name), before, after in self._states(lacking):
            assert before is not None
            assert after is not None
            action, reason = planned_action(before, after)
            stopped = uid in synced.stopped
            if stopped:
                action, reason = Action.WITHDRAW, "too many withdrawals at once: it waits for approval"
            elif after.present and before.outcome is None:
                reason = f"its file cannot be read completely, so it is not withdrawn; {reason}"
            change = Change(
                name=name,
                action=action,
                reason=reason,
                starts=remaining_starts(after),
                stopped=stopped,
                diff=document_diff(before, None),
            )
            yield self._row(change, before, after)

    def _uid(self, name: str | None) -> str:
        """The uid of a name; empty for a document without one."""
        return "" if name is None else self._identity_key.uid(self._rules.source, name)

    def _states(
        self, requests: Iterable[tuple[str, T]]
    ) -> Iterator[tuple[tuple[str, T], Record | None, Record | None]]:
        """Each pair of a uid and something else, with the record before and after the dry run."""
        waiting = iter(requests)
        while chunk := list(islice(waiting, _CHUNK)):
            stored = self.store.before([uid for uid, _ in chunk])
            for one in chunk:
                before = stored.get(one[0])
                yield one, before, self.store.committed.get(one[0], before)


class OverlayStore:
    """A store that starts as the stored state and keeps all commits in memory.

    Implements `agent.ports.Records`, `agent.ports.AdmissionStore` and `agent.ports.Starts`.
    """

    def __init__(self, reading: Reading | None, now: float, policy: Policy) -> None:
        self._reading = reading
        self._now = now
        self._policy = policy
        self.committed: dict[str, Record] = {}  # by uid
        self._remembered: dict[MetaKey, str | float | None] = {}
        self._withdrawn: set[tuple[str, int]] = set()  # uids and generations

    def before(self, uids: Sequence[str]) -> dict[str, Record]:
        """The stored records, as a restart finds them."""
        found = self._reading.get_many(uids) if self._reading is not None else {}
        return {uid: after_restart(record, self._now, self._policy) for uid, record in found.items()}

    shared = False

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        """Never called: a plan takes no start."""
        raise Impossible("a plan takes no start")

    async def present(self, source: str) -> dict[str, str]:
        """Names and uids of stored requests that have a file."""
        return self._reading.present(source) if self._reading is not None else {}

    async def is_driven(self, uid: str) -> bool:
        """False: the overlay has records that no replica sees."""
        return False

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Keep the records."""
        for step in steps:
            if step.withdraws:
                self._withdrawn.add((step.record.uid, step.record.generation))
            self.committed[step.record.uid] = step.record

    async def get(self, uid: str) -> Record | None:
        """The record after all commits of the dry run."""
        return (await self.get_many([uid])).get(uid)

    async def get_many(self, uids: Sequence[str]) -> dict[str, Record]:
        """The records after all commits of the dry run."""
        stored = self.before([uid for uid in uids if uid not in self.committed])
        return stored | {uid: self.committed[uid] for uid in uids if uid in self.committed}

    async def withdrawn_since(self, at: float) -> int:
        """How many requests were withdrawn, in the store and in the dry run: the prune guard counts both."""
        return len(self._withdrawn) + (self._reading.withdrawn_since(at) if self._reading is not None else 0)

    async def record_scan(self, *_: object, **__: object) -> None:
        """Keep nothing: the plan reports the scan itself."""

    async def starts_since(self, at: float) -> int:
        """How many starts count since then."""
        return self._reading.starts_since(at) if self._reading is not None else 0

    async def recall(self, key: MetaKey) -> str | None:
        """The text that the dry run set, or the stored one."""
        if key in self._remembered:
            value = self._remembered[key]
            return None if value is None else str(value)
        return self._reading.recall(key) if self._reading is not None else None

    async def recall_time(self, key: MetaKey) -> float | None:
        """The time that the dry run set, or the stored one."""
        if key in self._remembered:
            value = self._remembered[key]
            return None if value is None else float(value)
        return self._reading.recall_time(key) if self._reading is not None else None

    async def remember(self, key: MetaKey, value: str | float | None) -> None:
        """Keep a value in memory."""
        self._remembered[key] = value

    async def orphans(self) -> list[tuple[str, float, str | None]]:
        """The stored possible orphans: the dry run creates none."""
        return self._reading.orphans() if self._reading is not None else []

    async def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """The stored owners of these dossiers: the dry run creates none."""
        return self._reading.owners(dossiers) if self._reading is not None else {}
