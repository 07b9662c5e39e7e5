"""The origin of a generation: the commit that was admitted, the last commit of its file, and the signer of that."""

from typing import Any

from agent.core.record import Origin, Record
from agent.views.document_diff import MASK
from agent.views.revisions import short


def origin_json(record: Record, origin: Origin | None, personal: bool = False) -> dict[str, Any]:
    """The origin. A signer is personal data: without `personal` only the fingerprint of the key is shown."""
    signer = origin.signer if origin is not None else None
    if signer is not None and not personal:
        _, _, fingerprint = signer.rpartition(" ")
        signer = f"{MASK} {fingerprint}"
    return {
        "commit": record.desired.commit,
        "fileCommit": origin.file_commit if origin is not None else None,
        "signer": signer,
    }


def origin_sentence(found: dict[str, Any]) -> str | None:
    """The origin for people, without its full stop; None if no commit is known."""
    if found["commit"] is None:
        return None
    sentence = f"admitted from commit {short(found['commit'])}"
    if found["fileCommit"] is not None:
        sentence += f"; its file was last changed in commit {short(found['fileCommit'])}"
    if found["signer"] is not None:
        sentence += f", signed by {found['signer']}"
    return sentence
