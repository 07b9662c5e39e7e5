"""The row of a request, without its SQL: what a writer remembers of it."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

from agent.core.step import Step
from agent.store.repository import MIRRORED, document_json, mirrored

_VERSION, _REFERENCE = MIRRORED.index("version"), MIRRORED.index("reference")
_KIND = itemgetter(*map(MIRRORED.index, ("phase", "state", "hold_reason", "dossier_id")))


@dataclass(slots=True)
class RequestRow:
    """The row of a request, as the last step wrote it."""

    seq: int
    head: str
    salt: str | None
    mirrored: tuple[Any, ...]  # the values of MIRRORED
    document: bytes | None = None  # the JSON of `desired`, half of the record. None: not known

    @classmethod
    def after(cls, step: Step, known: Self | None, seq: int, head: str, salt: str | None) -> Self:
        """The row after this step. Its reference and its document are seldom new, so the known ones are taken over."""
        before, record = step.before, step.record
        reference = document = None
        if before is not None and known is not None:
            if (before.generation, before.attempt) == (record.generation, record.attempt):
                reference = known.mirrored[_REFERENCE]
            if before.desired is record.desired:
                document = known.document
        return cls(seq, head, salt, mirrored(record, reference), document or document_json(record.desired))

    @property
    def version(self) -> int:
        """The version of the record."""
        return int(self.mirrored[_VERSION])

    @property
    def kind(self) -> tuple[str, str, str, int]:
        """The key of `request_counts`: phase, state, reason of the hold, and 1 with a dossier."""
        phase, state, reason, dossier = _KIND(self.mirrored)
        return phase, state, reason or "", int(dossier is not None)
