"""Figures of the state file: for metrics, the status page and `doctor`."""

import os
from math import nan
from pathlib import Path

from agent.ports import MetaKey
from agent.store.read_results import SourceState
from agent.store.sqlite.queries import Queries
from agent.store.sqlite.request_queries import FAILED_IMAGE_DELETIONS

_FOUND_ORPHANS = "SELECT DISTINCT dossier_id FROM orphans WHERE closed_at IS NULL AND dossier_id IS NOT NULL"
_OVERDUE_SECONDS = 900.0  # a deletion counts as overdue after 15 minutes


class StatisticsQueries(Queries):
    """Reads of counts. Implements `agent.ports.StoreStatistics`."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Requests by phase and state. Those that are done have the state `done` or `held`."""
        sql = (
            "SELECT phase, CASE WHEN phase = 'done' AND reason <> '' THEN 'held' ELSE state END AS shown, sum(requests)"
            " FROM request_counts GROUP BY phase, shown"
        )
        found = {(phase, state): int(count) for phase, state, count in self.query(sql)}
        return {("done", "held"): 0, ("done", "done"): 0} | found

    def states(self) -> dict[str, int]:
        """Requests by state."""
        sql = "SELECT state, sum(requests) FROM request_counts GROUP BY state HAVING sum(requests) > 0"
        return dict(self.query(sql))

    def held(self) -> list[tuple[str, int]]:
        """Held requests by reason."""
        sql = """
            SELECT reason, sum(requests) FROM request_counts WHERE reason <> ''
            GROUP BY reason HAVING sum(requests) > 0
        """
        return [(reason, count) for reason, count in self.query(sql)]

    def progress_counts(self) -> tuple[int, int, int]:
        """How many requests there are, how many continue without a decision, and how many are held."""
        total = self._value("SELECT coalesce(sum(requests), 0) FROM request_counts")
        moving = self._value("SELECT count(*) FROM requests WHERE moving")
        held = self._value("SELECT coalesce(sum(requests), 0) FROM request_counts WHERE reason <> ''")
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
        sql = f"SELECT cause, count(DISTINCT uid) FROM ({FAILED_IMAGE_DELETIONS}) GROUP BY cause ORDER BY 2 DESC"  # noqa: S608 - constant
        return [(str(cause), int(count)) for cause, count in self.query(sql)]

    def concerns(self, now: float) -> dict[str, int]:
        """Counts that are 0 when all is well: refused documents, overdue deletions, orphans, pending notifications."""
        return {
            "refused": self._value("SELECT count(DISTINCT file || char(0) || coalesce(name, line)) FROM refusals"),
            "overdue": self.overdue_deletions(now),
            "orphans": self._value("SELECT count(*) FROM orphans WHERE closed_at IS NULL"),
            "deliveries": self._value("SELECT count(*) FROM deliveries"),
        }

    def gauges(self, now: float) -> dict[str, float]:
        """The values of STORE_GAUGES (`agent/platform/metric_tables.py`)."""
        open_dossiers = "SELECT coalesce(sum(requests), 0) FROM request_counts WHERE dossier AND phase <> 'done'"
        dossier = self._value("SELECT min(admitted_at) FROM requests WHERE dossier_id IS NOT NULL AND phase <> 'done'")
        progress = self._value("SELECT min(progress_at) FROM requests WHERE state = 'active'")
        undeleted = f"SELECT count(DISTINCT uid) FROM ({FAILED_IMAGE_DELETIONS})"  # noqa: S608 - constant
        claims = self._value("SELECT count(*) FROM claims WHERE expires_at < ?", now - _OVERDUE_SECONDS)
        found = self._column(_FOUND_ORPHANS)
        return {
            "store_bytes": sum(path.stat().st_size for path in self.path.parent.glob(self.path.name + "*")),
            "store_free_bytes": _free_bytes(self.path.parent),
            "open_dossiers": self._value(open_dossiers),
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


def _free_bytes(folder: Path) -> float:
    """The free bytes of a file system, NaN if it does not report its size."""
    found = os.statvfs(folder)
    return float(found.f_frsize * found.f_bavail) if found.f_blocks else nan
