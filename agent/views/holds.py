"""The meaning of each hold, and the commands that resolve it."""

from shlex import quote
from typing import Any

from agent.core.record import Hold, HoldReason, Record
from agent.core.rules.holds import accepts_dossier

HOLDS = {
    HoldReason.BACK_IMAGE_REQUIRED: (
        "Assure requires both sides of this document, and the request has no back image. Nothing was billed.",
        "Add the back image to the file: the verification then starts again automatically.",
    ),
    HoldReason.IMAGES_CHANGED: (
        "An image file changed after its admission, so the agent creates and sends nothing more.",
        "Put the admitted image back: the request then continues automatically. To use other images, change the file.",
    ),
    HoldReason.IMAGES_DIFFER: (
        "Assure returned a different image than the agent uploaded, so the agent did not start the verification.",
        "Retry with the same images, or abandon the request.",
    ),
    HoldReason.DOCUMENT_TYPE_GONE: (
        "Assure no longer offers the document type that the request was admitted with.",
        "Find the current type with `assure-agent document-types` and change the file; or retry when Assure offers it.",
    ),
    HoldReason.REFUSED: (
        "Assure refused a call. The evidence has its error words; `...` replaces words that the agent does not keep.",
        "Correct what Assure refuses (the file, or the account), then retry.",
    ),
    HoldReason.UNEXPECTED_ANSWER: (
        "Assure sent four answers that its documentation does not describe.",
        "Send the evidence to Signicat; then retry, or abandon the request.",
    ),
    HoldReason.HISTORY_LOST: (
        "The store was lost or replaced by a copy, and Assure has no trace of this request. "
        "It may already have been verified and billed.",
        "If it was not, retry; if it was, abandon. `assure-agent approve` retries all requests with this hold.",
    ),
    HoldReason.CLAIMS_NOT_KEPT: (
        "The verification is accepted, but the agent cannot store its claims: CLAIMS_KEY is not set, or a disk fails.",
        "Set CLAIMS_KEY, or free disk space for its day keys: the request then continues automatically. Abandon "
        "continues without the claims, with the outcome accepted; so does the deadline. Until then the dossier "
        "stays at Assure.",
    ),
    HoldReason.CHANGED_AFTER_START: (
        "The file was changed after the verification was billed or finished. The agent continues with the earlier "
        "version.",
        "Retry verifies the changed file, and Assure bills it again. Abandon ends the earlier verification, keeps "
        "an existing outcome, and leaves the changed file to a later rerun. Or restore the earlier content of the "
        "file. Until then the agent applies no change of the file.",
    ),
    HoldReason.REAPPEARED_AFTER_START: (
        "The file is back, after the request was withdrawn and billed. The agent started nothing for it.",
        "Retry verifies the request again, and Assure bills it again. Abandon keeps it withdrawn, and leaves the "
        "file to a later rerun. Or remove the file.",
    ),
}


def hold_answers(record: Record, hold: Hold) -> tuple[list[str], str]:
    """The commands that resolve a hold, and the annotation that resolves it through git."""
    choices = ("retry", "abandon", "adopt DOSSIER_ID") if accepts_dossier(record) else ("retry", "abandon")
    commands = [f"assure-agent resolve {quote(record.name)} {choice}" for choice in choices]
    return commands, f'assure-agent/resolve: "retry@{hold.id}"'


def hold_help(record: Record, hold: Hold) -> dict[str, Any]:
    """The meaning and the remedy of a hold, the commands that resolve it, and the annotation for git."""
    meaning, remedy = HOLDS[hold.reason]
    commands, annotation = hold_answers(record, hold)
    return {"meaning": meaning, "remedy": remedy, "commands": commands, "annotation": annotation}
