"""The externalReference of a dossier: `aa-<agent>-<uid>-<generation>-<attempt>` (design §5)."""

import re
from dataclasses import dataclass
from typing import Self

_PATTERN = re.compile(r"aa-([a-z0-9]{1,16})-([0-9a-f]{24})-([1-9]\d{0,8})-([1-9]\d{0,8})")


@dataclass(frozen=True, slots=True)
class Reference:
    """The parts of an external reference. `str` gives the reference."""

    agent: str
    uid: str
    generation: int
    attempt: int

    def __str__(self) -> str:
        return f"aa-{self.agent}-{self.uid}-{self.generation}-{self.attempt}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Parse a reference that an Assure Agent made. None for any other text."""
        match = _PATTERN.fullmatch(text or "")
        return None if match is None else cls(match[1], match[2], int(match[3]), int(match[4]))
