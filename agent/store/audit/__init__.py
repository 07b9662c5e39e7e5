"""The audit: verification of the history, named queries, exports and deletion certificates."""

from agent.store.audit.verify import AuditReport, verify
from agent.store.audit.verify_journal import Finding

__all__ = ["AuditReport", "Finding", "verify"]
