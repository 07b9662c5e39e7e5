"""The statement of deletion: which dossiers a request had at Assure, that they are gone, and the evidence for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.effect import EffectKind
from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.store.account_binding import account_of, simulated
from agent.store.audit.checkpoints import Checkpoint, beside, lines, standing
from agent.store.audit.request_log import Entry, Reply, Subject, story, subjects
from agent.store.audit.verify import Names, key_beside, verify_request
from agent.store.connection import Connection, reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A dossier that is gone. Each of `deletions` is an answer to a DELETE, with its time; the last is the success."""

    dossier_id: str
    generation: int
    created: Entry
    due_at: float | None
    deletions: tuple[tuple[float, Reply], ...]
    confirmed: Entry  # Assure's 404 to the read after the deletion


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The statement. `orphans` are references whose creation was never answered, and what came of each."""

    account: str | None  # base URL and client id
    simulated: bool  # by a sandbox: nothing of it happened at Assure
    uid: str
    name: str | None
    generations: int
    outcome: str | None
    gone: tuple[Gone, ...]
    orphans: tuple[tuple[str, str | None, float], ...]  # reference, dossier id when it showed, closed at
    events: int
    head: str
    last: Entry
    checkpoint: Checkpoint | None  # the first that covers the last event


def certificates(path: Path, asked: str) -> list[Certificate]:
    """A statement for each request of this name or uid. Raises AgentError when there is none, or none can be made."""
    with reader(path) as connection:
        keys = key_beside(connection, path)
        checkpoints = list(lines(beside(path)))
        connection.execute("BEGIN")
        found = subjects(connection, asked, keys)
        if not found:
            raise AgentError(
                f"There is no request named {asked}, and none with this uid.",
                "see all of them with `assure-agent audit query who-asked`",
            )
        return [_certificate(connection, subject, asked, checkpoints, Names(keys=keys)) for subject in found]


def _certificate(
    connection: Connection, subject: Subject, asked: str, checkpoints: list[Checkpoint], names: Names
) -> Certificate:
    uid, row = subject.uid, subject.row
    for finding in verify_request(connection, row, names):
        raise AgentError(
            f"The history of {asked} is not what was written ({finding.where}: {finding.what}), so it proves nothing.",
            "look at all of it with `assure-agent audit verify`",
        )
    if row["phase"] != Phase.DONE:
        raise AgentError(
            f"{asked} is in phase {row['phase']}: it may still have, or get, a dossier at Assure.",
            f"see what comes next with `assure-agent explain {subject.name or asked}`",
        )
    entries = list(story(connection, uid))
    account = account_of(connection)
    return Certificate(
        account=account,
        simulated=simulated(account),
        uid=uid,
        name=subject.name,
        generations=row["generation"],
        outcome=row["outcome"],
        gone=tuple(_gone(entries)),
        orphans=tuple(_orphans(connection, uid, asked)),
        events=row["seq"],
        head=row["head"],
        last=entries[-1],
        checkpoint=next((line for line in standing(checkpoints) if line.event >= entries[-1].event), None),
    )


def _gone(entries: list[Entry]) -> list[Gone]:
    """The dossiers, from the history; that the request is done means that each of them was confirmed."""
    gone: list[Gone] = []
    open_dossier: dict[str, Any] | None = None
    generation, deletions = 0, []
    for entry in entries:
        changes = entry.changes
        if entry.reply is not None and entry.reply.effect == EffectKind.DELETE_DOSSIER:
            deletions.append((entry.at, entry.reply))
        if open_dossier is not None and changes.get("deleteAt") is not None:
            open_dossier["due_at"] = changes["deleteAt"]
        if open_dossier is not None and entry.type == "TargetMissing" and _ends(changes):
            gone.append(Gone(**open_dossier, deletions=tuple(deletions), confirmed=entry))
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


def _orphans(connection: Connection, uid: str, asked: str) -> list[tuple[str, str | None, float]]:
    sql = "SELECT reference, dossier_id, closed_at FROM orphans WHERE uid = ? ORDER BY since"
    orphans = connection.execute(sql, (uid,)).fetchall()
    for reference, _, closed_at in orphans:
        if closed_at is None:
            raise AgentError(
                f"{asked} may have a dossier at Assure under {reference}: the answer to its creation was lost.",
                "let the agent run: it looks for it for an hour, and deletes it when it shows",
            )
    return [tuple(row) for row in orphans]
