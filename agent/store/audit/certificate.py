"""The deletion certificate: the dossiers of a request at Assure, and their confirmed deletion."""

from dataclasses import dataclass

from agent.store.audit.checkpoints import Checkpoint
from agent.store.audit.request_log import AuditEntry, LoggedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedDossier:
    """A deleted dossier. `deletions` are the answers to DELETE calls, with their times. The last one is the success."""

    dossier_id: str
    generation: int
    created: AuditEntry
    due_at: float | None
    deletions: tuple[tuple[float, LoggedAnswer], ...]
    confirmed: AuditEntry  # Assure's 404 for the read after the deletion


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedGeneration:
    """A generation whose file was last changed by a signed commit. The agent verified the signature at admission."""

    generation: int
    file_commit: str
    signer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The certificate. `orphans` are the references of unanswered create calls, with the result for each.

    `signed` is empty once the request was forgotten.
    """

    account: str | None  # base URL and client id
    simulated: bool  # by a sandbox: nothing of it happened at Assure
    uid: str
    name: str | None
    generations: int
    outcome: str | None
    signed: tuple[SignedGeneration, ...]
    dossiers: tuple[DeletedDossier, ...]
    orphans: tuple[tuple[str, str | None, float], ...]  # reference, dossier id when it showed, closed at
    events: int
    head: str
    last: AuditEntry
    checkpoint: Checkpoint | None  # the first that covers the last event
