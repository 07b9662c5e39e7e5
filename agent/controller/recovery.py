"""Recovery of a lost, older or restored store, from the dossiers that Assure still has (design §7).

It reads one list for all requests: GET dossiers (the newest 100) and GET processes (30 days, all pages), matched by
external reference. Each record that may be out of date receives the dossiers under its references, and the state
machine decides. A dossier under this agent id that no request explains is logged as unclaimed. The agent leaves it
alone, because a prefix does not prove ownership.

After the operator's `approve` there is one more scan, because lists may have lagged. Then held requests without a
dossier continue.

A state folder that was restored completely, with high-water mark and checkpoints, seems current. So at each start,
before new work, the agent reads two lists. A dossier of this agent that a current store would contain proves a
rollback, and a recovery begins. Finished and deleted requests leave no trace to find.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent.controller.reconciler import Reconciler
from agent.core.answer import Done, Refused
from agent.core.assure_types import FoundDossier, ListedDossier, ListedProcess
from agent.core.lost_answers import started_process
from agent.core.observations import HistoryLost, HoldResolved, Observation
from agent.core.record import HoldAnswer, Record
from agent.core.reference import Reference
from agent.core.rules.recovery import proves_store_is_stale
from agent.ports import Clock, Records, Recoveries, Recovery, Remote
from agent.ports.remote import PAGE_SIZE, list_all_processes

_LIST_WINDOW = 29.9 * 86400.0  # GET processes covers 30 days
_CHUNK = 500  # records per transaction
_MAX_EVIDENCE = 3  # dossiers that are read as evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """The result of one scan. `claimed` and `unclaimed` count dossiers under this agent id, `waiting` requests."""

    recovery: Recovery
    claimed: int = 0
    unclaimed: int = 0
    waiting: int = 0  # requests with no dossier, or with several that could apply
    closed: bool = False


class StoreRecovery:
    """Reads the dossiers of the agent's requests from Assure during a recovery."""

    def __init__(
        self,
        store: Records,
        recoveries: Recoveries,
        remote: Remote,
        reconciler: Reconciler,
        clock: Clock,
        agent_id: str,
        sole_owner: bool = False,
    ) -> None:
        """`sole_owner`: the agent id is derived from the identity key, so no other agent has dossiers under it."""
        self._store = store
        self._recoveries = recoveries
        self._remote = remote
        self._reconciler = reconciler
        self._clock = clock
        self._agent_id = agent_id
        self._sole_owner = sole_owner
        self._checked = recoveries.fresh  # the start-up check; a new store needs none
        self.lists_unreadable = False  # the last attempt to read the lists failed

    async def detect_rollback(self) -> bool | None:
        """Check once whether the store is behind, and begin a recovery if so. None when Assure cannot answer now."""
        if self._checked:
            return False
        signs = await self._evidence()
        if signs is not None:
            self._checked = True
        if signs:
            await self._recoveries.begin(self._clock.now())
        return signs

    async def _evidence(self) -> bool | None:
        """True when Assure has a dossier that proves a rollback. None when Assure cannot answer now."""
        listed = await self._remote.list_dossiers()
        page = await self._remote.list_processes(self._clock.now() - _LIST_WINDOW, (), 0, PAGE_SIZE)  # the newest page
        if not isinstance(listed, Done) or not isinstance(page, Done):
            self.lists_unreadable = True
            return None
        self.lists_unreadable = unclear = False
        unknown = await self._unknown_dossiers(self._group_by_uid(listed.value, page.value.processes))
        for dossier_id in unknown[:_MAX_EVIDENCE]:
            # A lagging list may contain a deleted dossier.
            answer = await self._remote.read_dossier(dossier_id, expect_missing=True)
            if isinstance(answer, Done):
                return True
            unclear = unclear or not (isinstance(answer, Refused) and answer.missing)
        return None if unclear else False

    async def _unknown_dossiers(self, found: Mapping[str, tuple[FoundDossier, ...]]) -> list[str]:
        """The ids of dossiers that prove a rollback, without those that an earlier recovery recorded."""
        since = await self._recoveries.last_scan_at() or 0.0
        own, others = [], []
        for uid, ones in found.items():
            record = await self._store.get(uid)
            signs = [
                one for one in ones if (self._sole_owner if record is None else proves_store_is_stale(record, one))
            ]
            own += [one.dossier_id for one in signs if record is not None and record.dossier_id == one.dossier_id]
            others += [one.dossier_id for one in signs if one.opened_at is not None and one.opened_at > since]
        explained = await self._recoveries.previously_unclaimed(others)
        return [*own, *(dossier_id for dossier_id in others if dossier_id not in explained)]

    async def scan(self) -> RecoveryReport | None:
        """Scan once during a recovery. None when there is nothing to search for, or Assure returned no list."""
        recovery = await self._recoveries.open()
        if recovery is None:
            return None
        first = recovery.scanned_at is None
        uids = (
            await self._recoveries.possibly_stale()
            if first
            else await self._recoveries.held_history_lost(unsearched=True)
        )
        if not (first or uids or recovery.approved_at is not None):
            return None
        found = await self._list_dossiers()
        if found is None:
            return None
        if recovery.approved_at is not None:
            uids = list({*uids, *await self._recoveries.held_history_lost()})
        asked = {*uids, *found} if first else set(uids)
        if await self._deliver({uid: HistoryLost(at=self._clock.now(), found=found.get(uid, ())) for uid in asked}):
            return None
        unclaimed = await self._unclaimed(found)
        await self._recoveries.record_search(self._clock.now(), unclaimed)
        if recovery.approved_at is not None:
            await self._complete()
        return RecoveryReport(
            recovery=recovery,
            claimed=sum(map(len, found.values())) - len(unclaimed),
            unclaimed=len(unclaimed),
            waiting=len(await self._recoveries.held_history_lost()),
            closed=recovery.approved_at is not None,
        )

    async def _list_dossiers(self) -> dict[str, tuple[FoundDossier, ...]] | None:
        """The dossiers under this agent id, by uid. None when a list cannot be read."""
        self.lists_unreadable = True
        listed = await self._remote.list_dossiers()
        if not isinstance(listed, Done):
            return None
        processes = await list_all_processes(self._remote, self._clock.now() - _LIST_WINDOW, ())
        if processes is None:
            return None
        self.lists_unreadable = False
        return self._group_by_uid(listed.value, processes)

    def _group_by_uid(
        self, dossiers: Iterable[ListedDossier], processes: Iterable[ListedProcess]
    ) -> dict[str, tuple[FoundDossier, ...]]:
        found: dict[str, FoundDossier] = {}
        uids: dict[str, str] = {}
        for row in dossiers:
            if (ours := self._parse_reference(row.reference)) is not None:
                uids[row.dossier_id] = ours[0]
                found[row.dossier_id] = replace(
                    ours[1], dossier_id=row.dossier_id, opened_at=_parse_time(row.created_at)
                )
        for process in processes:
            if (ours := self._parse_reference(process.reference)) is not None and process.dossier_id is not None:
                uids[process.dossier_id] = ours[0]
                made = replace(ours[1], dossier_id=process.dossier_id, opened_at=_parse_time(process.created_at))
                one = found.get(process.dossier_id, made)
                found[process.dossier_id] = replace(one, processes=(*one.processes, process))
        by_uid: dict[str, list[FoundDossier]] = {}
        for dossier_id, one in found.items():
            by_uid.setdefault(uids[dossier_id], []).append(one)
        return {uid: tuple(ones) for uid, ones in by_uid.items()}

    def _parse_reference(self, reference: str | None) -> tuple[str, FoundDossier] | None:
        read = Reference.parse(reference)
        if read is None or read.agent != self._agent_id:
            return None
        return read.uid, FoundDossier(generation=read.generation, attempt=read.attempt, dossier_id="")

    async def _deliver(self, observations: Mapping[str, Observation]) -> set[str]:
        """Deliver to the records that exist. Returns the uids that did not receive their observation."""
        declined: set[str] = set()
        for uids in _chunks(list(observations)):
            known = await self._store.get_many(list(uids))
            declined |= {*await self._reconciler.deliver({uid: observations[uid] for uid in uids if uid in known})}
        return declined

    async def _unclaimed(self, found: Mapping[str, tuple[FoundDossier, ...]]) -> list[tuple[str, str]]:
        """Dossiers that no request explains: id and reference. Empty ones of earlier attempts are possible orphans."""
        unclaimed = []
        for uid, ones in found.items():
            record = await self._store.get(uid)
            for one in ones:
                reference = str(Reference(self._agent_id, uid, one.generation, one.attempt))
                if record is not None and one.dossier_id == record.dossier_id:
                    continue
                if record is not None and _is_not_newer(one, record) and not started_process(one.processes):
                    await self._recoveries.suspect(uid, reference, one.dossier_id, self._clock.now())
                else:
                    unclaimed.append((one.dossier_id, reference))
        return unclaimed

    async def _complete(self) -> None:
        """Resolve the remaining holds with `retry` after the operator's approval, and end the recovery."""
        now = self._clock.now()
        answers: dict[str, Observation] = {}
        for uid in await self._recoveries.held_history_lost():
            record = await self._store.get(uid)
            if record is not None and record.hold is not None:
                answers[uid] = HoldResolved(at=now, hold_id=record.hold.id, answer=HoldAnswer.RETRY)
        if not await self._deliver(answers):
            await self._recoveries.close(now)


def _is_not_newer(found: FoundDossier, record: Record) -> bool:
    return (found.generation, found.attempt) <= (record.generation, record.attempt)


def _chunks(uids: list[str]) -> Iterator[Collection[str]]:
    for start in range(0, len(uids), _CHUNK):
        yield uids[start : start + _CHUNK]


def _parse_time(text: str) -> float | None:
    """Parse a time of Assure (`YYYY-MM-DDThh:mm:ssZ`, contract §0) into seconds since the epoch. None when invalid."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
