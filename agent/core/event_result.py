"""The result of an Assure Event that the agent receives."""

from enum import StrEnum


class EventResult(StrEnum):
    """The results. The agent acknowledges the first four. It answers the others with 4xx and changes nothing."""

    ACCEPTED = "woke"  # an open request reads its process now
    UNMATCHED = "stray"  # no open request has this dossier or this reference
    DUPLICATE = "repeated"  # an event with this id was received within a day
    UNKNOWN = "unknown"  # not a process.complete event
    FORGED = "forged"  # no signature, or a wrong one
    OVERSIZED = "oversized"  # larger than the size limit
    UNREADABLE = "unreadable"  # signed, and not a valid envelope; or incomplete

    @property
    def genuine(self) -> bool:
        """True for an event with a valid signature."""
        return self not in (EventResult.FORGED, EventResult.OVERSIZED, EventResult.UNREADABLE)
