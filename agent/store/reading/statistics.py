"""Figures of the store: for metrics, the status page and `doctor`."""

from abc import abstractmethod

from agent.ports import MetaKey
from agent.store.read_results import LivingProcess, SourceState
from agent.store.reading.queries import Queries
from agent.store.reading.request_queries import FAILED_IMAGE_DELETIONS

_FOUND_ORPHANS = "SELECT DISTINCT dossier_id FROM orphans WHERE closed_at IS NULL AND dossier_id IS NOT NULL"
_REFUSED = """
SELECT count(*) FROM (SELECT DISTINCT file, coalesce(name, CAST(line AS text)) FROM refusals) AS documents
"""
_COUNTS = """
SELECT phase, CASE WHEN phase = 'done' AND reason <> '' THEN 'held' ELSE state END AS shown, sum(requests)
FROM request_counts GROUP BY phase, shown
"""
_FAILURES = f"""
SELECT cause, count(DISTINCT uid) FROM ({FAILED_IMAGE_DELETIONS}) AS failed GROUP BY cause ORDER BY 2 DESC
"""  # noqa: S608 - constant
_OPEN_DOSSIERS = """
SELECT CAST(coalesce(sum(requests), 0) AS bigint) FROM request_counts WHERE dossier = 1 AND phase <> 'done'
"""
_OVERDUE_SECONDS = 900.0  # a deletion counts as overdue after 15 minutes


class StatisticsQueries(Queries):
    """Reads of counts. Implements `agent.ports.StoreStatistics`."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Requests by phase and state. Those that are done have the state `done` or `held`."""
        rows = self.query(_COUNTS)
        found = {(phase, state): int(count) for phase, state, count in rows}
        return {("done", "held"): 0, ("done", "done"): 0} | found

    def states(self) -> dict[str, int]:
        """Requests by state."""
        sql = "SELECT state, CAST(sum(requests) AS bigint) FROM request_counts GROUP BY state HAVING sum(requests) > 0"
        return dict(self.query(sql))

    def held(self) -> list[tuple[str, int]]:
        """Held requests by reason."""
        sql = """
            SELECT reason, CAST(sum(requests) AS bigint) FROM request_counts WHERE reason <> ''
            GROUP BY reason HAVING sum(requests) > 0
        """
        return [(reason, count) for reason, count in self.query(sql)]

    def progress_counts(self) -> tuple[int, int, int]:
        """How many requests there are, how many continue without a decision, and how many are held."""
        total = self._value("SELECT CAST(coalesce(sum(requests), 0) AS bigint) FROM request_counts")
        moving = self._value("SELECT count(*) FROM requests WHERE moving = 1")
        held = self._value("SELECT CAST(coalesce(sum(requests), 0) AS bigint) FROM request_counts WHERE reason <> ''")
        return total, moving, held

    def counters(self, counter: str) -> list[tuple[str, str, str, int]]:
        """A persistent counter: mode, process type, outcome, value."""
        sql = "SELECT mode, process_type, outcome, value FROM counters WHERE counter = ?"
        return [tuple(row) for row in self.query(sql, (counter,))]

    def sources(self) -> list[SourceState]:
        """The last scan of each source."""
        sql = "SELECT source, synced_at, files, complete, waiting FROM sources ORDER BY source"
        return [
            SourceState(source=source, synced_at=at, files=files, complete=bool(complete), waiting=waiting)
            for source, at, files, complete, waiting in self.query(sql)
        ]

    def waiting_withdrawals(self) -> int:
        """How many withdrawals wait for an approval."""
        return int(self._value("SELECT coalesce(sum(waiting), 0) FROM sources"))

    def overdue_deletions(self, now: float) -> int:
        """How many dossiers should have been deleted more than 15 minutes ago."""
        sql = "SELECT count(*) FROM requests INDEXED BY requests_deleting WHERE phase = 'deletion' AND delete_at < ?"
        return int(self._value(sql, now - _OVERDUE_SECONDS))

    def failed_image_deletions(self) -> list[tuple[str, int]]:
        """The causes of failed deletions of image files (names of errnos), with the number of their requests."""
        return [(str(cause), int(count)) for cause, count in self.query(_FAILURES)]

    def concerns(self, now: float) -> dict[str, int]:
        """Counts that are 0 when all is well: refused documents, overdue deletions, orphans, pending notifications."""
        return {
            "refused": self._value(_REFUSED),
            "overdue": self.overdue_deletions(now),
            "orphans": self._value("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "deliveries": self._value("SELECT count(*) FROM deliveries"),
        }

    def gauges(self, now: float) -> dict[str, float]:
        """The values of STORE_GAUGES (`agent/platform/metric_tables.py`), without those that are unknown."""
        dossier = self._value("SELECT min(admitted_at) FROM requests WHERE dossier_id IS NOT NULL AND phase <> 'done'")
        progress = self._value("SELECT min(progress_at) FROM requests WHERE state = 'active'")
        undeleted = f"SELECT count(DISTINCT uid) FROM ({FAILED_IMAGE_DELETIONS}) AS failed"  # noqa: S608 - constant
        claims = self._value("SELECT count(*) FROM claims WHERE expires_at < ?", now - _OVERDUE_SECONDS)
        found = self._column(_FOUND_ORPHANS)
        known = {"store_free_bytes": self.free_bytes(), "oldest_snapshot_seconds": self.oldest_snapshot()}
        return {name: value for name, value in known.items() if value is not None} | {
            "replicas": sum(one.kind == "replica" for one in self.processes()),
            "store_bytes": self.store_bytes(),
            "open_dossiers": self._value(_OPEN_DOSSIERS),
            "oldest_open_dossier_seconds": now - dossier if dossier else 0.0,
            "oldest_unprogressed_seconds": now - progress if progress else 0.0,
            "deletions_overdue": self.overdue_deletions(now),
            "images_undeleted": self._value(undeleted),
            "claims_overdue": claims,
            "paused": float(self.recall_time(MetaKey.PAUSED) is not None),
            "backup_timestamp_seconds": self.recall_time(MetaKey.BACKED_UP) or 0.0,
            "deliveries_pending": self._value("SELECT count(*) FROM deliveries"),
            "possible_orphans": self._value("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "orphans_undeleted": len(found) - len(self.owners(found)),
        }

    @abstractmethod
    def processes(self) -> list[LivingProcess]:
        """The processes that write to the store now."""

    @abstractmethod
    def oldest_snapshot(self) -> float | None:
        """The age of the oldest transaction of a database that keeps a snapshot, in seconds; None for a state file."""

    @abstractmethod
    def store_bytes(self) -> float:
        """The size of the store, in bytes."""

    @abstractmethod
    def free_bytes(self) -> float | None:
        """The free bytes of the file system with the store; None if they are unknown."""
