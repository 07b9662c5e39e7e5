"""Check that a request may adopt the dossier that the operator names."""

from collections.abc import Collection, Container
from dataclasses import dataclass

from agent.core.assure_types import is_id
from agent.core.errors import AgentError
from agent.core.record import Record
from agent.core.rules.holds import accepts_dossier
from agent.ports import DossierOwners


@dataclass(frozen=True, slots=True)
class DossierUse:
    """The dossiers that requests use, and the orphans."""

    owned: Container[object] = ()
    orphans: Container[object] = ()

    @classmethod
    async def read(cls, store: DossierOwners, dossiers: Collection[str]) -> "DossierUse":
        """Read which of these dossiers are in use. Reads nothing for none."""
        if not dossiers:
            return cls()
        return cls(await store.owners([*dossiers]), {known for _, _, known in await store.orphans()} - {None})


def refuse_adoption(use: DossierUse, record: Record, dossier_id: object, taken: Container[object] = ()) -> None:
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
    if dossier_id in taken or dossier_id in use.owned:
        raise AgentError(
            "Another request still uses this dossier.",
            "adopt a dossier that no request uses: `assure-agent get -o json` prints the dossierId of each request",
        )
    if dossier_id in use.orphans:
        raise AgentError(
            "This dossier is an orphan that the agent is about to delete.",
            "resolve the hold with retry or abandon, or adopt another dossier",
        )
