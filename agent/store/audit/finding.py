"""What an audit finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was written. `event` counts in the order of writing, `seq` within the request.

    `command` counts the commands of people in the order in which they were obeyed.
    """

    what: str
    event: int | None = None
    uid: str | None = None
    seq: int | None = None
    command: int | None = None

    @property
    def where(self) -> str:
        """Where it is, as far as it can be said."""
        parts = [f"event {self.event}"] if self.event is not None else []
        parts += [f"request {self.uid}, its event {self.seq}"] if self.uid is not None else []
        parts += [f"command {self.command}"] if self.command is not None else []
        return "; ".join(parts) or "the checkpoints"
