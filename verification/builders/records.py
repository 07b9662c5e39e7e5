"""Documents as they are admitted, records, edits of a file and the observation of an edit."""

import hashlib
from dataclasses import replace
from random import Random
from typing import Any

from agent.core.admission import DocumentVerdict, judge
from agent.core.assure_types import PROVIDER, CaptureOptions, Depiction, DocumentKey, ListedProcess, ProcessType, Status
from agent.core.effect import ImageRef
from agent.core.observations import DocumentChanged, DocumentRemoved, DocumentReturned, EncryptedClaims, Observation
from agent.core.policy import Policy
from agent.core.record import Desired, Origin, Record

NOW = 1_800_000_000.0
POLICY = Policy(poll_fallback=5.0)  # polls as often as the bulk list would prompt it

DUTCH_PASSPORT = DocumentKey("NLD", "passport")
FRONT = ImageRef(depiction=Depiction.FRONT, path="a/front.jpg", sha256="f" * 64)
BACK = ImageRef(depiction=Depiction.BACK, path="a/back.jpg", sha256="b" * 64)
ORIGIN = Origin(author="Ann Author", file_commit="c0" * 20, signer="ann@signer.example SHA256:AnnsKey")
OPTIONS = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/verified")


def upload(essence: str = "one", *, back: bool = True, **fields: Any) -> Desired:
    """An admitted document with images. Its digest follows from its content, unless one is given."""
    given: dict[str, Any] = {
        "process_type": ProcessType.DOCUMENT,
        "document_id": 137,
        "images": (FRONT, BACK) if back else (FRONT,),
    }
    return _complete({"essence": essence, **given, **fields})


def capture(essence: str = "one", **fields: Any) -> Desired:
    """An admitted document with a capture flow."""
    given: dict[str, Any] = {"process_type": ProcessType.DOCUMENT, "capture": OPTIONS}
    return _complete({"essence": essence, **given, **fields})


def unadmitted(desired: Desired, **fields: Any) -> Record:
    """A record before its admission."""
    return Record(
        **{"uid": "u1", "name": "customer-1", "source": "default", "agent": "a1", "desired": desired, **fields}
    )


def sealed(expires_at: float) -> EncryptedClaims:
    """Claims that no key can decrypt."""
    return EncryptedClaims(
        key_id="2027-01-15-00000000", wrapped_key=b"wrapped", ciphertext=b"ciphertext", expires_at=expires_at
    )


def listed(process_id: str, status: Status = Status.PENDING, created_at: str = "1", **fields: Any) -> ListedProcess:
    """A process of the kind that the agent creates, as GET dossier lists it."""
    given = {"provider": PROVIDER, "process_type": "document", "created_at": created_at, "updated_at": created_at}
    return ListedProcess(**{"process_id": process_id, "status": status, **given, **fields})


def digested(document: Desired) -> Desired:
    """The document with the digest of its content: equal documents have equal digests."""
    parts = (document.mode, document.essence, document.images, document.suspend)
    durations = (document.deadline, document.retention, document.rerun, document.claims_ttl)
    content = "/".join(str(part) for part in (*parts, *durations))
    return replace(document, digest=hashlib.sha256(content.encode()).hexdigest()[:32])


def _complete(fields: dict[str, Any]) -> Desired:
    made = Desired(**{"digest": "", **fields})
    return made if made.digest else digested(made)


def observation_from_source(record: Record, file: Desired | None, at: float) -> Observation | None:
    """The observation that the admission of this file makes, or None when the file is unchanged."""
    if file is None:
        return DocumentRemoved(at=at) if record.present else None
    verdict = judge(record, file.digest, file.essence, record.desired.file, file.rerun)
    if verdict is DocumentVerdict.UNCHANGED:
        return None
    return (DocumentReturned if verdict is DocumentVerdict.RETURNED else DocumentChanged)(at=at, desired=file)


def edits(random: Random, file: Desired | None, original: Desired) -> Desired | None:
    """The file after the next edit by its author, or None when it is removed."""
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
