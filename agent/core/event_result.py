"""What becomes of an Assure Event that we receive."""

from enum import StrEnum


class EventResult(StrEnum):
    """The first four are acknowledged, the rest are answered with 4xx and change nothing."""

    ACCEPTED = "woke"  # an open request looks at its process now
    UNMATCHED = "stray"  # nothing open here has this dossier or this reference
    DUPLICATE = "repeated"  # an event with this id was received within a day
    UNKNOWN = "unknown"  # another event than process.complete
    FORGED = "forged"  # no signature, or a wrong one
    OVERSIZED = "oversized"  # larger than we read
    UNREADABLE = "unreadable"  # signed, and no envelope; or it did not arrive whole

    @property
    def genuine(self) -> bool:
        """True when it was an event, and signed by who knows the secret."""
        return self not in (EventResult.FORGED, EventResult.OVERSIZED, EventResult.UNREADABLE)
