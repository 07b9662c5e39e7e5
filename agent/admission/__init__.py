"""The source loop: from a scan of the source to changes of the records.

- `request_source`: a source, as admission uses it: a folder or a git repository.
- `triggers`: when the source is scanned.
- `revision_sync`: when a git source is fetched and scanned.
- `sync`: one scan and what follows from it.
- `sync_result`: the result of one scan.
- `changes`: the difference between documents and their records.
- `desired`: one document, resolved to the desired state of its request.
- `prune_guard`: whether absent requests may be withdrawn.
- `adoption`: whether a request may adopt a dossier.

`agent.core.admission` decides what a document means for its record.
"""

from agent.admission.desired import AdmissionRules
from agent.admission.sync import Admission
from agent.admission.sync_result import SyncResult

__all__ = ["Admission", "AdmissionRules", "SyncResult"]
