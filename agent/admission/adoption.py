"""May a request adopt the dossier that a person names? Asked of the store before a record is told."""

from collections.abc import Container

from agent.core.assure_types import is_id
from agent.core.errors import AgentError
from agent.core.record import Record
from agent.core.rules.holds import adoptable
from agent.ports import Store


def refuse_adoption(store: Store, record: Record, dossier_id: object, taken: Container[object] = ()) -> None:
    """Raises AgentError where the hold is about no dossier, for what is no id, and for a dossier that is not free.
    Some may be `taken` although the store does not say so yet.

    Two requests in one dossier would share a result, and the first to end would delete it under the other [I2, I3].
    """
    if not adoptable(record):
        raise AgentError("It is held for something else: no dossier can be adopted.", "answer with retry or abandon")
    if not is_id(dossier_id):
        raise AgentError(
            "What is to be adopted is no id of a dossier.",
            "copy the dossierId from Assure: letters, digits, `.`, `_`, `~` and `-`",
        )
    if dossier_id in taken or store.owners([dossier_id]):
        raise AgentError(
            "Another request has this dossier, and is not done with it.",
            "adopt one that no request has: `assure-agent get -o json` shows the dossierId of each",
        )
    if any(known == dossier_id for _, _, known in store.orphans()):
        raise AgentError(
            "This dossier is about to be deleted as an orphan.", "answer with retry or abandon, or adopt another one"
        )
