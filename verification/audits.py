"""The audit of a state file, for tests and benchmarks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.store.audit import deletion_certificate, export
from agent.store.audit.certificate import Certificate
from agent.store.audit.report import AuditReport
from agent.store.audit.verify import verify
from agent.store.sqlite.audit_connection import SqliteAudit


def verified(path: Path, copy: Path | None = None) -> AuditReport:
    """Verify a state file. `copy` is a copy of its checkpoint file."""
    with SqliteAudit.open(path) as audit:
        return verify(audit, copy)


def certificates(path: Path, name_or_uid: str) -> list[Certificate]:
    """The deletion certificates of a state file."""
    with SqliteAudit.open(path) as audit:
        return deletion_certificate.certificates(audit, name_or_uid)


def export_lines(path: Path, at: float, uid: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of an export of a state file."""
    with SqliteAudit.open(path) as audit:
        yield from export.export_lines(audit, at, uid)
