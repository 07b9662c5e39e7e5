"""Check that a request may adopt the dossier that the operator names."""

from collections.abc import Container

from agent.core.assure_types import is_id
from agent.core.errors import AgentError
from agent.core.record import Record
from agent.core.rules.holds import accepts_dossier
from agent.ports import DossierOwners


def refuse_adoption(store: DossierOwners, record: Record, dossier_id: object, taken: Container[object] = ()) -> None:
    """Raises AgentError for a hold that accepts no dossier, an invalid id, and a dossier that is in use.

    `taken` are dossiers of other decisions that are not stored yet. Two requests with one dossier would share a result,
    and the first to finish would delete the dossier of the other [I2, I3].
    """
    if not accepts_dossier(record):
        raise AgentError("This hold does not accept a dossier to adopt.", "resolve it with retry or abandon")
    if not is_id(dossier_id):
        raise AgentError(
            "The value to adopt is not a valid dossier id.",
            "copy the dossierId from Assure; it has letters, digits, `.`, `_`, `~` and `-`",
        )
    if dossier_id in taken or store.owners([dossier_id]):
        raise AgentError(
            "Another request still uses this dossier.",
            "adopt a dossier that no request uses: `assure-agent get -o json` prints the dossierId of each request",
        )
    if any(known == dossier_id for _, _, known in store.orphans()):
        raise AgentError(
            "This dossier is an orphan that the agent is about to delete.",
            "resolve the hold with retry or abandon, or adopt another dossier",
        )
