"""What an auditor asks of the store: is it what was written, what happened, and is the dossier gone?"""

from agent.store.audit.verify import AuditReport, verify
from agent.store.audit.verify_journal import Finding

__all__ = ["AuditReport", "Finding", "verify"]
