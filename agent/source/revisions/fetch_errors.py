"""The cause of a failed git command, from its output in the C locale."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from agent.core.source_revision import FetchFailure

_LONGEST = 240  # characters of a detail


class FetchError(Exception):
    """A fetch that failed. `detail` is one printable line without credentials: what git said."""

    def __init__(self, failure: FetchFailure, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure, self.detail = failure, detail


@dataclass(slots=True)
class Result:
    """The end of a command. `stopped` says why it was ended early."""

    code: int = 0
    errors: str = ""  # standard error
    stopped: FetchFailure | None = None


def failure_of(
    result: Result, otherwise: FetchFailure = FetchFailure.OTHER, secrets: Collection[str] = ()
) -> FetchError:
    """The error of a command that failed. `secrets` are blanked in its detail."""
    return FetchError(result.stopped or otherwise, detail_of(result.errors, secrets))


def detail_of(errors: str, secrets: Collection[str] = ()) -> str:
    """The most important line of the text."""
    for secret in secrets:
        errors = errors.replace(secret, "***") if secret else errors
    lines = [line for line in map(_printable, errors.splitlines()) if line]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    return (telling or lines or [""])[0][:_LONGEST]


def _printable(line: str) -> str:
    """The line without control characters, and without the user information of URLs."""
    shown = "".join(letter if letter.isprintable() else " " for letter in line)
    return re.sub(r"(?<=://)[^\s/@']*@", "", " ".join(shown.split()))
