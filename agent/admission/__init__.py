"""Admission: turn a scan of the source into changes of records.

`sync.py` runs scans and applies their results. `changes.py` compares documents with records. `desired.py` builds the
desired state of one document. `prune_guard.py` limits withdrawals. `core/admission.py` decides on a document.
"""

from agent.admission.changes import IdentityKey
from agent.admission.desired import AdmissionRules
from agent.admission.sync import Admission, RecordPort, SyncResult, WatchResult

__all__ = ["Admission", "AdmissionRules", "IdentityKey", "RecordPort", "SyncResult", "WatchResult"]
