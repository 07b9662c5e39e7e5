"""The verification of the open requests at the start of an agent: it must not bill because of a changed row."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.core.errors import StoreDamaged
from agent.store.audit.histories import Connection, with_histories
from agent.store.audit.verify import verify_request


def refuse_unverified(
    connection: Connection, requests: Iterable[Mapping[str, Any]], place: str, backup: str = "`assure-agent restore`"
) -> None:
    """Raise StoreDamaged if one of these rows of `requests` differs from its history.

    `place`: the kind and the place of the store. `backup` restores the newest backup of it.
    """
    for row, history in with_histories(connection, requests):
        for finding in verify_request(row, history):
            raise StoreDamaged(
                f"The {place} is damaged: of request {row['uid']}, {finding.what}.",
                f"see all of it with `assure-agent audit verify`; restore the newest backup with {backup}",
            )
