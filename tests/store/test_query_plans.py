"""What the agent asks of its store costs the same with a long past [I8]: counted in steps of SQLite, and by its plans.

Every public method of the classes below is called, in three stores: a small one, one with twenty times as much that is
settled, and one with twenty times as much that waits. A method that is new has to be added here, or the first test
fails; whatever SQL it comes to is looked at by the others.
"""

import asyncio
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.core.machine import step
from agent.core.observations import DocumentRemoved, TimerFired
from agent.core.record import HoldReason, Outcome, Phase
from agent.core.step import Step
from agent.ports import Command, MetaKey, Receipt
from agent.store.read_results import Filter, ImageDeletion, SupersededImage
from agent.store.sqlite import connection, integrity
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.store.sqlite.store import SqliteStore
from agent.store.writing.claims import Claims
from agent.store.writing.image_deletions import ImageDeletions
from agent.store.writing.inbox import ReceiptTable
from agent.store.writing.outbox import NotificationTable
from agent.store.writing.recoveries import RecoveryTable
from tests.store.support import opened
from tests.support.stores import at_once
from verification.builders.lives import DEFAULT_POLICY, Life
from verification.builders.records import NOW

FEW, MANY = 10, 200
SINK = "a-sink"


@dataclass
class Ledger:
    """What SQLite was asked since it was last cleared, and how many steps it took."""

    asked: list[str] = field(default_factory=list)
    steps: int = 0

    def watch(self, one: Connection) -> Connection:
        one.set_trace_callback(self.asked.append)
        one.set_progress_handler(self._step, 1)
        return one

    def _step(self) -> int:
        self.steps += 1
        return 0


@contextmanager
def watched() -> Iterator[Ledger]:
    """Every connection that is made meanwhile."""
    ledger, plain = Ledger(), connection._connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrity, "SMALL", 0)
        patch.setattr(connection, "_connect", lambda path, mode: ledger.watch(plain(path, mode)))
        yield ledger


Call = Callable[[Any], Any]
STORE: dict[str, Call] = {
    "commit": lambda store: store.commit([_next(store)]),
    "record_scan": lambda store: store.record_scan("default", NOW, 3, True, 0, [("a", 1, 1, "m", "h", None)], []),
    "record_refresh": lambda store: store.record_refresh("default", NOW, True, None, None),
    "remember": lambda store: store.remember(MetaKey.CIRCUIT, "value"),
    "close_orphan": lambda store: store.close_orphan("aa-a1-u-1-1", NOW, None),
    "found_orphan": lambda store: store.found_orphan("aa-a1-u-1-1", "D"),
    "checkpoint": lambda store: store.checkpoint(NOW),
    "record_restore": lambda store: store.record_restore(NOW),
    "get": lambda store: store.get("waits-3"),
    "get_many": lambda store: store.get_many(["waits-3", "settled-1", "unknown"]),
    "present": lambda store: store.present("default"),
    "shared_state": lambda store: store.shared_state(),
    "commands_after": lambda store: store.commands_after(0),
    "is_driven": lambda store: store.is_driven("waits-1"),
    "source_read_at": lambda store: store.source_read_at("default"),
    "release": lambda store: store.release([]),
    "take_duty": lambda store: store.take_duty("poll-results", 60.0),
    "hold_turn": lambda store: store.hold_turn("source/default"),
    "release_turn": lambda store: store.release_turn("source/default"),
    "revision_state": lambda store: store.revision_state("default"),
    "other_source": lambda store: [store.other_source("default"), store.other_source("other")],
    "unsettled": lambda store: [store.unsettled(), store.unsettled(started_only=True)],
    "count_progressing": lambda store: [store.count_progressing()],
    "claim": lambda store: [store.claim(1e12, 5, {"waits-1"}), store.claim(1e12, 5, {"waits-1"}, started_only=True)],
    "overdue": lambda store: store.overdue(NOW, 5, {"waits-1"}),
    "open_requests": lambda store: store.open_requests(),
    "creating": lambda store: store.creating(),
    "next_due": lambda store: [store.next_due({"waits-1"}), store.next_due({"waits-1"}, started_only=True)],
    "waiting": lambda store: store.waiting(),
    "waiting_in": lambda store: store.waiting_in(["D-waits-1", "D-waits-2", "D-of-somebody"]),
    "least_recently_polled": lambda store: store.least_recently_polled(3),
    "starts_since": lambda store: store.starts_since(NOW + 1e6),
    "awaiting_budget_or_images": lambda store: store.awaiting_budget_or_images(),
    "needed_images": lambda store: store.needed_images(),
    "make_claims_unreadable": lambda store: store.make_claims_unreadable("settled-1"),
    "last_event_at": lambda store: store.last_event_at(),
    "command_answer": lambda store: store.command_answer("c1"),
    "apply_command": lambda store: store.apply_command(Command(id="c1", verb="pause"), "well", NOW),
    "forget": lambda store: store.forget("settled-2", NOW),
    "forget_in_replaced": lambda store: store.forget_in_replaced("settled-2", NOW),
    "has_pending_image_deletions": lambda store: store.has_pending_image_deletions("settled-2"),
    "tidy": lambda store: store.tidy(),
    "recall": lambda store: store.recall(MetaKey.CIRCUIT),
    "recall_time": lambda store: store.recall_time(MetaKey.PAUSED),
    "orphans": lambda store: store.orphans(),
    "owners": lambda store: [store.owners([]), store.owners(["D-waits-1", "D-settled-1", "D"])],
    "withdrawn_since": lambda store: store.withdrawn_since(NOW + 1e6),
    "check_integrity": lambda store: store.check_integrity(),
}
RECOVERIES: dict[str, Call] = {
    "open": lambda one: one.open(),
    "possibly_stale": lambda one: one.possibly_stale(),
    "held_history_lost": lambda one: [one.held_history_lost(), one.held_history_lost(unsearched=True)],
    "record_search": lambda one: one.record_search(NOW, [("D", "aa-a1-u-1-1")]),
    "suspect": lambda one: one.suspect("waits-1", "aa-a1-u-1-1", "D", NOW),
    "approve": lambda one: one.approve(NOW),
    "last_scan_at": lambda one: one.last_scan_at(),
    "previously_unclaimed": lambda one: one.previously_unclaimed(["D-waits-1", "D-settled-1", "D"]),
    "begin": lambda one: one.begin(NOW),
    "close": lambda one: one.close(NOW),
}
INBOX: dict[str, Call] = {
    "is_known": lambda one: one.is_known("digest"),
    "remember_event": lambda one: one.remember_event(Receipt(digest="digest", at=NOW, forget_before=NOW - 60)),
    "find_request": lambda one: [one.find_request("D-waits-1", None), one.find_request(None, f"aa-a1-{24 * 'a'}-1-1")],
}
OUTBOX: dict[str, Call] = {
    "pending": lambda one: one.pending(SINK, 0, 5),
    "acknowledge": lambda one: one.acknowledge([1]),
    "trim": lambda one: one.trim(SINK, 10_000),
    "keep_only": lambda one: one.keep_only([SINK]),
}
_OWED = ImageDeletion(uid="settled-1", tries=0, how={})
_OLD = SupersededImage(uid="settled-1", generation=1, depiction="front", path="a", sha256="b", tries=0)
DISCARDS: dict[str, Call] = {
    "due": lambda one: one.due(NOW),
    "failed": lambda one: one.failed(_OWED, NOW, "EROFS", {}),
    "superseded": lambda one: one.superseded(NOW),
    "superseded_failed": lambda one: one.superseded_failed(_OLD, NOW, "EROFS"),
    "superseded_done": lambda one: one.superseded_done(_OLD, NOW, "deleted"),
    "has_pending": lambda one: one.has_pending("settled-1"),
}
CLAIMS: dict[str, Call] = {
    "expired": lambda one: one.expired(NOW),
    "of": lambda one: one.of("settled-1"),
    "make_unreadable": lambda one: one.make_unreadable([]),
    "make_all_unreadable": lambda one: one.make_all_unreadable("settled-1"),
    "erase": lambda one: one.erase([]),
    "tidy": lambda one: one.tidy(),
    "sweep": lambda one: one.sweep(NOW),
}
READING: dict[str, Call] = {
    "find": lambda one: one.find("name-waits-1"),
    "get": lambda one: one.get("waits-1"),
    "get_many": lambda one: one.get_many(["waits-1", "settled-1", "nobody"]),
    "rollback": lambda one: one.rollback(),
    "engine_version": lambda one: one.engine_version(),
    "store_bytes": lambda one: one.store_bytes(),
    "free_bytes": lambda one: one.free_bytes(),
    "present": lambda one: one.present("default"),
    "revision_state": lambda one: one.revision_state("default"),
    "other_source": lambda one: [one.other_source("default"), one.other_source("other")],
    "owners": lambda one: one.owners(["D-waits-1", "D-settled-1", "D"]),
    "withdrawn_since": lambda one: one.withdrawn_since(NOW + 1e6),
    "last_event_at": lambda one: one.last_event_at(),
    "starts_since": lambda one: one.starts_since(NOW + 1e6),
    "recall": lambda one: one.recall(MetaKey.CIRCUIT),
    "recall_time": lambda one: one.recall_time(MetaKey.PAUSED),
    "orphans": lambda one: one.orphans(),
    "page": lambda one: [
        one.page(Filter(), 5),
        one.page(Filter(labels=[("team", "red")], phase=Phase.RESULT, state="waiting"), 5),
        one.page(Filter(part="waits-3"), 5, after="a"),
        one.page(Filter(outcome=Outcome.ACCEPTED), 5, before="z"),
        one.page(Filter(reason=HoldReason.REFUSED, state="held"), 5),
    ],
    "latest": lambda one: [one.latest("waiting", 5), one.latest("waiting", 5, before="5.0-3")],
    "by_state": lambda one: [one.by_state("waiting", 5), one.by_state("waiting", 5, oldest=True)],
    "states": lambda one: one.states(),
    "history": lambda one: one.history("waits-1", 5),
    "sources": lambda one: one.sources(),
    "concerns": lambda one: one.concerns(NOW),
    "freeze": lambda one: one.freeze(),
    "attempts": lambda one: one.attempts("waits-1", 5),
    "link": lambda one: one.link("waits-1"),
    "has_lost_link": lambda one: one.has_lost_link(SimpleNamespace(uid="waits-1", capturing=True)),
    "claims": lambda one: one.claims("waits-1"),
    "refusals": lambda one: one.refusals(),
    "refused": lambda one: one.refused("a"),
    "scan_notes": lambda one: one.scan_notes("waits-1"),
    "strays": lambda one: one.strays(),
    "waiting_withdrawals": lambda one: one.waiting_withdrawals(),
    "counts": lambda one: one.counts(),
    "counters": lambda one: [one.counters("start"), one.counters("outcome")],
    "migrations": lambda one: one.migrations(),
    "account": lambda one: one.account(),
    "recovery": lambda one: one.recovery(),
    "carried_key": lambda one: one.carried_key(),
    "held": lambda one: one.held(),
    "overdue_deletions": lambda one: one.overdue_deletions(NOW),
    "failed_image_deletions": lambda one: one.failed_image_deletions(),
    "failed_image_deletion_of": lambda one: one.failed_image_deletion_of("settled-1"),
    "gauges": lambda one: one.gauges(NOW),
    "progress_counts": lambda one: one.progress_counts(),
    "all": lambda one: list(one.all()),
    "check_integrity": lambda one: one.check_integrity(),
    "data_version": lambda one: one.data_version(),
    "last_event": lambda one: one.last_event(),
    "changed_after": lambda one: one.changed_after(one.last_event() - 3),
    "names": lambda one: one.names("waits-", 5),
    "names_around": lambda one: one.names_around("waits-3", 2),
    "origin": lambda one: one.origin("uid", 1),
}
CLASSES: dict[type, dict[str, Call]] = {
    SqliteStore: STORE,
    RecoveryTable: RECOVERIES,
    ReceiptTable: INBOX,
    NotificationTable: OUTBOX,
    Claims: CLAIMS,
    ImageDeletions: DISCARDS,
    ReadOnlyStore: READING,
}

# What grows, and why it may.
WITH_SETTLED = {
    "SqliteStore.forget": "up to what two pages of each index hold beside it: test_erasing counts that it is no more",
    "SqliteStore.check_integrity": "it is what looks at all of it, beside the work",
    "ReadOnlyStore.check_integrity": "for `doctor`",
    "ReadOnlyStore.all": "for `get` without a name, which prints all",
    "ReadOnlyStore.page": "up to 2000 entries of the index of a condition, and the names for a part of a name",
}
WITH_WAITING = {
    "SqliteStore.open_requests": "when the clock is corrected",
    **WITH_SETTLED,
    "opening": "each request that goes on is held against its history",
    "SqliteStore.needed_images": "asked only when images are to be deleted: what an open request names stays",
    "SqliteStore.least_recently_polled": "asked only while there is no list: it sorts what waits",
    "SqliteStore.owners": "asked only where an orphan showed, and when a person has a dossier adopted",
    "ReadOnlyStore.gauges": "while an orphan showed: whether a request has it",
    "ReadOnlyStore.owners": "for `plan`, where a file has a dossier adopted",
    "SqliteStore.present": "once, at the start: the names whose files are there",
    "RecoveryTable.possibly_stale": "once in a recovery: all that is open is looked for",
    "ReadOnlyStore.present": "for `plan`: the names whose files are there",
    "ReadOnlyStore.progress_counts": "for `wait` and `doctor`",
}

# Tables that stay small whatever happens.
BOUNDED = {
    "request_counts": "phases by states by reasons",
    "counters": "outcomes by modes by types",
    "meta": "a handful of keys",
    "sources": "one row",
    "source_revisions": "one row",
    "recoveries": "a row each time a store was lost or put back",
    "unclaimed_dossiers": "of the last recovery only",
    "refusals": "files that are refused now",
    "scan_notes": "requests that wait for a person",
    "orphans": "creations whose answer was lost",
    "image_deletions": "requests whose images are about to be deleted",
    "deliveries": "the outbox: what sinks have not taken, 10,000 at the most",
    "claims": "only by `sweep`, by their keys",
    "receipts": "of the last days",
    "commands": "typed by people",
    "_sqlite_migrations": "one row each",
    "sqlite_master": "the schema",
    "json_each": "what was asked for",
    "documents": "a part of a query: the refusals",
    "failed": "a part of a query: the failed deletions of images",
    "few": "a part of a query: 2,000 rows at the most",
    "others": "a part of a query: two rows",
    "before": "a part of a query: one row",
    "after": "a part of a query: one row",
    "due": "a part of a query: what is due, up to the limit",
}


# Indexes that hold a part only; to go through one is no scan of the table.
PARTIAL = {
    "requests_queued": "what waits for the budget",
    "requests_with_dossier": "what has a dossier and is not done",
    "requests_moving": "what goes on by itself",
    "requests_waiting_since": "its first entry",
    "superseded_images_owed": "what is still to be deleted",
}


def _next(store: SqliteStore) -> Step:
    """A step of one that waits."""
    record = at_once(store.get("waits-2"))
    assert record is not None
    return step(record, TimerFired(at=NOW + 1e6), DEFAULT_POLICY)


async def grown(folder: Path, settled: int, waiting: int) -> None:
    """A store in which so many are settled, their files gone since, and so many wait."""
    store = opened(folder, sinks=[SINK])
    lives = [Life(f"waits-{number}").until(Phase.RESULT) for number in range(waiting)]
    for number in range(settled):
        life = Life(f"settled-{number}").until(Phase.DONE)
        life.sees(DocumentRemoved)
        lives.append(life)
    await store.commit([step for life in lives for step in life.steps])
    await store.outbox.keep_only(["somebody else"])  # the sinks have taken all
    await store.checkpoint(NOW)
    store.close()


async def costs(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Steps and statements of each call, by class and method; and of opening."""
    found = {}
    with watched() as ledger:
        store = opened(folder, sinks=[SINK])
        found["opening"] = ledger.steps, list(ledger.asked)
        owners = {
            SqliteStore: store,
            RecoveryTable: store.recoveries,
            ReceiptTable: store.inbox,
            NotificationTable: store.outbox,
            ImageDeletions: store.image_deletions,
        }
        with ReadOnlyStore(folder / "agent.db") as reading:
            for kind, calls in CLASSES.items():
                owner = owners.get(kind) or (reading if kind is ReadOnlyStore else store.claims)
                for name, call in calls.items():
                    ledger.asked.clear()
                    ledger.steps = 0
                    came = call(owner)
                    for one in came if isinstance(came, list) else [came]:
                        if inspect.isawaitable(one):
                            await one
                    found[f"{kind.__name__}.{name}"] = ledger.steps, list(ledger.asked)
        store.close()
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[int, list[str]]]]:
    sizes = {"small": (FEW, FEW), "settled": (MANY, FEW), "waiting": (FEW, MANY)}
    found = {}
    for name, (settled, waiting) in sizes.items():
        folder = tmp_path_factory.mktemp(name)
        asyncio.run(grown(folder, settled, waiting))
        found[name] = asyncio.run(costs(folder))
    return found


def test_every_method_of_the_store_is_tested() -> None:
    for kind, calls in CLASSES.items():
        methods = {name for name, _ in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_")}
        others = {
            "close",
            "aclose",
            "begin_end",
            "watch",
            "refuse_away",
            "confirm_ownership",
            "query",
            "execute",
            "images_missing",
            "images_found",
            "take_start",
            "processes",
            "oldest_snapshot",
            "run",
            "stream",
        }
        assert methods - others | (calls.keys() & {"close"}) == calls.keys(), kind
    known = {base for kind in CLASSES for base in kind.__mro__}
    for name in (
        "agent.store.sqlite.store",
        "agent.store.reading.queries",
        "agent.store.reading.loop_reads",
        "agent.store.reading.request_lists",
        "agent.store.reading.request_queries",
        "agent.store.reading.statistics",
        "agent.store.reading.reading",
        "agent.store.sqlite.readonly",
        "agent.store.writing.outbox",
        "agent.store.writing.recoveries",
        "agent.store.writing.claims",
        "agent.store.writing.image_deletions",
    ):
        module = sys.modules[name]
        kinds = {kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == name}
        asking = {kind for kind in kinds if "query(" in inspect.getsource(kind)}
        assert asking <= known, f"a class that asks the store is not looked at: {asking - known}"


@pytest.mark.parametrize(("store", "may"), [("settled", WITH_SETTLED), ("waiting", WITH_WAITING)])
def test_nothing_takes_more_steps_with_a_long_past(
    measured: dict[str, dict[str, tuple[int, list[str]]]], store: str, may: dict[str, str]
) -> None:
    """[I8] Twenty times as much on file, and SQLite does exactly the same."""
    small, large = measured["small"], measured[store]
    grew = {name: (small[name][0], large[name][0]) for name in small if large[name][0] > small[name][0]}
    assert {name: steps for name, steps in grew.items() if name not in may} == {}
    assert may.keys() - grew.keys() == set(), "a reason that is none any more"


def test_no_plan_scans_a_table_that_grows(
    measured: dict[str, dict[str, tuple[int, list[str]]]], tmp_path: Path
) -> None:
    asyncio.run(grown(tmp_path, 0, 1))
    raw = connection.open_reader(tmp_path / "agent.db")
    result = set()
    scans = []
    for name, (_, asked) in measured["settled"].items():
        for sql in asked:
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\b", sql) or name in WITH_SETTLED:
                continue
            result.add(sql)
            first = sql.endswith("LIMIT 1") and "WHERE" not in sql  # one row, whichever
            for row in raw.execute("EXPLAIN QUERY PLAN " + sql):
                match = re.match(r"SCAN (\w+)\b(?! ROW| VIRTUAL)", row[3])
                if match and match[1] not in BOUNDED and not any(index in row[3] for index in PARTIAL) and not first:
                    scans.append(f"{name}: {row[3]}: {' '.join(sql.split())}")
    raw.close()
    assert sorted(set(scans)) == []
    assert len(result) > 80
