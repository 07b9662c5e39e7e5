"""The source loop: from a scan to the records. It gathers what a scan saw and what we know, and tells the reconciler.

`loop.py` goes from scans and looks to the records, `news.py` says what documents come to, `wanted.py` what one of them
asks for, and `guard.py` whether what is absent may be withdrawn. Who decides what a document means is
`core/admission.py`.
"""

from agent.admission.changes import Salt
from agent.admission.desired import Rules
from agent.admission.sync import Admission, Looked, Records, Synced

__all__ = ["Admission", "Looked", "Records", "Rules", "Salt", "Synced"]
