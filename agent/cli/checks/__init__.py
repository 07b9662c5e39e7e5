"""The checks of `doctor`: settings, Assure, files, store, source, machine and images."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"  # the agent works, but the operator should act
    PROBLEM = "problem"  # the agent cannot work, or it would be unsafe


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `message` is a sentence without its full stop; `hint` is the remedy."""

    name: str
    message: str
    state: State = State.OK
    hint: str = ""

    @property
    def sentence(self) -> str:
        """The finding for people."""
        return f"{self.message}." + (f" Try: {self.hint}." if self.hint else "")


def warning(name: str, message: str, hint: str) -> Check:
    """A check that found something for the operator to improve."""
    return Check(name=name, state=State.WARNING, message=message, hint=hint)


def problem(name: str, message: str, hint: str) -> Check:
    """A check that found something that stops the agent."""
    return Check(name=name, state=State.PROBLEM, message=message, hint=hint)
