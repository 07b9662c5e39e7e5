"""What becomes of an Assure Event that we receive."""

from enum import StrEnum


class Received(StrEnum):
    """The first four are acknowledged, the rest are answered with 4xx and change nothing."""

    WOKE = "woke"  # an open request looks at its process now
    STRAY = "stray"  # nothing open here has this dossier or this reference
    REPEATED = "repeated"  # an event with this id was received within a day
    UNKNOWN = "unknown"  # another event than process.complete
    FORGED = "forged"  # no signature, or a wrong one
    OVERSIZED = "oversized"  # larger than we read
    UNREADABLE = "unreadable"  # signed, and no envelope; or it did not arrive whole

    @property
    def genuine(self) -> bool:
        """True when it was an event, and signed by who knows the secret."""
        return self not in (Received.FORGED, Received.OVERSIZED, Received.UNREADABLE)
