"""What a record is given: documents as they are admitted, what people do to the file, what the source says of it."""

import hashlib
from dataclasses import replace
from random import Random
from typing import Any

from agent.core.admission import Verdict, judge
from agent.core.assure_types import PROVIDER, CaptureOptions, Depiction, DocumentKey, ListedProcess, ProcessType, Status
from agent.core.effect import (
    ImageRef,
)
from agent.core.observations import DocumentChanged, DocumentRemoved, DocumentReturned, Observation, Sealed
from agent.core.policy import Policy
from agent.core.record import Desired, Record

NOW = 1_800_000_000.0
POLICY = Policy(own_look=5.0)  # looks as often as the bulk list would prompt them

DUTCH_PASSPORT = DocumentKey("NLD", "passport")
FRONT = ImageRef(depiction=Depiction.FRONT, path="a/front.jpg", sha256="f" * 64)
BACK = ImageRef(depiction=Depiction.BACK, path="a/back.jpg", sha256="b" * 64)


def upload(essence: str = "one", *, back: bool = True, **fields: Any) -> Desired:
    """An admitted document with images. Twice the same is the same: the digest follows from what is given."""
    given: dict[str, Any] = {
        "process_type": ProcessType.DOCUMENT,
        "document_id": 137,
        "images": (FRONT, BACK) if back else (FRONT,),
    }
    return digested(Desired(**{"digest": "", "essence": essence, **given, **fields}))


def capture(essence: str = "one", **fields: Any) -> Desired:
    """An admitted document with a capture flow."""
    options = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/verified")
    given: dict[str, Any] = {"process_type": ProcessType.DOCUMENT, "capture": options}
    return digested(Desired(**{"digest": "", "essence": essence, **given, **fields}))


def unadmitted(desired: Desired, **fields: Any) -> Record:
    """A record that nothing happened to yet."""
    return Record(
        **{"uid": "u1", "name": "customer-1", "source": "default", "agent": "a1", "desired": desired, **fields}
    )


def sealed(expires_at: float) -> Sealed:
    """Claims that nobody can open."""
    return Sealed(key_id="2027-01-15-00000000", wrapped=b"wrapped", ciphertext=b"ciphertext", expires_at=expires_at)


def listed(process_id: str, status: Status = Status.PENDING, created_at: str = "1", **fields: Any) -> ListedProcess:
    """A process of the kind we create, as GET dossier lists it."""
    given = {"provider": PROVIDER, "process_type": "document", "created_at": created_at, "updated_at": created_at}
    return ListedProcess(**{"process_id": process_id, "status": status, **given, **fields})


def digested(document: Desired) -> Desired:
    """The document with the digest of what it says: the same words, the same digest."""
    parts = (document.mode, document.essence, document.images, document.suspend)
    durations = (document.deadline, document.retention, document.rerun, document.claims_ttl)
    said = "/".join(str(part) for part in (*parts, *durations))
    return replace(document, digest=hashlib.sha256(said.encode()).hexdigest()[:32])


def told_by_source(record: Record, file: Desired | None, at: float) -> Observation | None:
    """What the source loop says of the file that is there now, or None when nothing is new."""
    if file is None:
        return DocumentRemoved(at=at) if record.present else None
    verdict = judge(record, file.digest, file.essence, record.desired.file, file.rerun)
    if verdict is Verdict.FOLLOWED:
        return None
    return (DocumentReturned if verdict is Verdict.RETURNED else DocumentChanged)(at=at, desired=file)


def edits(random: Random, file: Desired | None, original: Desired) -> Desired | None:
    """What a person does to the file next."""
    now = file or original
    return random.choice(
        [
            None,
            original,
            digested(replace(now, essence=random.choice(("one", "two", "three")))),
            digested(replace(now, suspend=not now.suspend)),
            digested(replace(now, deadline=random.choice((120.0, 900.0, 86400.0)))),
            digested(replace(now, retention=random.choice((0.0, 60.0, 1e6)))),
            digested(replace(now, rerun=random.choice(("t1", "t2", "t3")))),
        ]
    )
