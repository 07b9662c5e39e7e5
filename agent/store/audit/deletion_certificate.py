"""The deletion certificate: a request's dossiers at Assure, their confirmed deletion, and the evidence."""

from collections.abc import Iterator
from typing import Any

from agent.core.effect import EffectKind
from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.ports import MetaKey
from agent.store.account_binding import simulated
from agent.store.audit.certificate import Certificate, DeletedDossier, SignedGeneration
from agent.store.audit.checkpoints import Checkpoint, effective
from agent.store.audit.connection import AuditConnection
from agent.store.audit.event_reader import request_events, subjects
from agent.store.audit.histories import with_histories
from agent.store.audit.request_log import AuditEntry, Subject
from agent.store.audit.verify import NameChecks, verify_request


def certificates(audit: AuditConnection, name_or_uid: str) -> list[Certificate]:
    """A statement for each request of this name or uid. Raises AgentError if one cannot be made."""
    keys = audit.checked_keys()
    checkpoints = list(audit.checkpoints())
    audit.freeze()
    found = subjects(audit, name_or_uid, keys)
    return [_certificate(audit, subject, name_or_uid, checkpoints, NameChecks(keys=keys)) for subject in found]


def _certificate(
    audit: AuditConnection, subject: Subject, name_or_uid: str, checkpoints: list[Checkpoint], names: NameChecks
) -> Certificate:
    uid, row = subject.uid, subject.row
    ((_, history),) = with_histories(audit, [row])
    for finding in verify_request(row, history, names):
        raise AgentError(
            f"The history of {name_or_uid} is not what was written ({finding.where}: {finding.what}), "
            "so it proves nothing.",
            "run `assure-agent audit verify`",
        )
    if row["phase"] != Phase.DONE:
        raise AgentError(
            f"{name_or_uid} is in phase {row['phase']}: it may still have, or get, a dossier at Assure.",
            f"see what comes next with `assure-agent explain {subject.name or name_or_uid}`",
        )
    entries = list(request_events(audit, uid))
    account = audit.recall(MetaKey.ACCOUNT)
    return Certificate(
        account=account,
        simulated=simulated(account),
        uid=uid,
        name=subject.name,
        generations=row["generation"],
        outcome=row["outcome"],
        signed=tuple(_signed_generations(audit, uid)),
        dossiers=tuple(_deleted_dossiers(entries)),
        orphans=tuple(_orphans(audit, uid, name_or_uid)),
        events=row["seq"],
        head=row["head"],
        last=entries[-1],
        checkpoint=next((line for line in effective(checkpoints) if line.event >= entries[-1].event), None),
    )


def _signed_generations(audit: AuditConnection, uid: str) -> Iterator[SignedGeneration]:
    sql = (
        "SELECT generation, file_commit, signer FROM provenance "
        "WHERE uid = ? AND file_commit IS NOT NULL AND signer IS NOT NULL ORDER BY generation"
    )
    for generation, commit, signer in audit.execute(sql, (uid,)):
        yield SignedGeneration(generation=generation, file_commit=commit, signer=signer)


def _deleted_dossiers(entries: list[AuditEntry]) -> list[DeletedDossier]:
    """The dossiers in the history. A done request has a confirmed deletion for each of them."""
    gone: list[DeletedDossier] = []
    open_dossier: dict[str, Any] | None = None
    generation, deletions = 0, []
    for entry in entries:
        changes = entry.changes
        if entry.reply is not None and entry.reply.effect == EffectKind.DELETE_DOSSIER:
            deletions.append((entry.at, entry.reply))
        if open_dossier is not None and changes.get("deleteAt") is not None:
            open_dossier["due_at"] = changes["deleteAt"]
        if open_dossier is not None and entry.type == "TargetMissing" and _ends(changes):
            gone.append(DeletedDossier(**open_dossier, deletions=tuple(deletions), confirmed=entry))
            open_dossier = None
        generation = changes.get("generation") or generation
        if changes.get("dossierId"):
            open_dossier = {"dossier_id": changes["dossierId"], "generation": generation, "created": entry}
            open_dossier["due_at"] = changes.get("deleteAt")
            deletions = []
    assert open_dossier is None, "a request that is done has no dossier"
    return gone


def _ends(changes: dict[str, Any]) -> bool:
    return changes.get("phase") in (Phase.DONE, Phase.DOSSIER)


def _orphans(audit: AuditConnection, uid: str, name_or_uid: str) -> list[tuple[str, str | None, float]]:
    sql = "SELECT reference, dossier_id, closed_at FROM orphans WHERE uid = ? ORDER BY since"
    orphans = audit.execute(sql, (uid,)).fetchall()
    for reference, _, closed_at in orphans:
        if closed_at is None:
            raise AgentError(
                f"{name_or_uid} may have a dossier at Assure under {reference}: the answer to its creation was lost.",
                "run the agent: for an hour it searches for this dossier, and deletes it",
            )
    return [tuple(row) for row in orphans]
