"""What an auditor asks of the store: is it what was written, what happened, and is the dossier gone?"""

from agent.store.audit.finding import Finding
from agent.store.audit.verify import Verdict, verify

__all__ = ["Finding", "Verdict", "verify"]
