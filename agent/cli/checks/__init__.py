"""What `doctor` looks at: the environment, the remote, and the place where the agent lives."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # it works, and somebody should look
    PROBLEM = "problem"  # the agent cannot work like this, or must not


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `message` is a sentence without its full stop; `hint` is what to try."""

    name: str
    message: str
    state: State = State.OK
    hint: str = ""

    @property
    def sentence(self) -> str:
        """The finding for people."""
        return f"{self.message}." + (f" Try: {self.hint}." if self.hint else "")


def warning(name: str, message: str, hint: str) -> Check:
    """Somebody should look."""
    return Check(name=name, state=State.WARNING, message=message, hint=hint)


def problem(name: str, message: str, hint: str) -> Check:
    """It cannot work like this."""
    return Check(name=name, state=State.PROBLEM, message=message, hint=hint)
