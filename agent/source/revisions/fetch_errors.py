"""The causes of a failed fetch: from the output of git in the C locale, and from errors of the system."""

import contextlib
import errno
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.core.source_revision import FetchFailure

_LONGEST = 240  # characters of a detail

# Errors of the system if two entries of a tree exclude each other, or if it cannot have a file of this name.
_IMPOSSIBLE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ)


class FetchError(Exception):
    """A fetch that failed. `detail` is one printable line without credentials: what git said."""

    def __init__(self, failure: FetchFailure, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure, self.detail = failure, detail


@contextlib.contextmanager
def as_fetch_errors(folder: Path, impossible: FetchFailure = FetchFailure.DISK) -> Iterator[None]:
    """Raise FetchError with DISK for an OSError; with `impossible` if the system cannot have such an entry.

    The detail names the folder, and no file in it: the names of request files are personal data.
    """
    try:
        yield
    except OSError as error:
        failure = impossible if error.errno in _IMPOSSIBLE else FetchFailure.DISK
        raise FetchError(failure, f"{folder}: {error.strerror or type(error).__name__}") from error


@dataclass(slots=True)
class Result:
    """The end of a command. `stopped` is the reason if the agent ended it early."""

    code: int = 0
    errors: str = ""  # standard error
    stopped: FetchError | None = None

    @property
    def failed(self) -> bool:
        """True unless git ended by itself and reported success."""
        return self.stopped is not None or self.code != 0


# The first line that matches is the detail. A later cause is often the consequence of an earlier one.
_CAUSES = (
    (FetchFailure.OTHER, r"dubious ownership|died of signal (?:9|15)\b"),  # killed, perhaps by the system for memory
    (FetchFailure.DISK, r"No space left on device|Read-only file system|Disk quota exceeded|Input/output error"),
    (
        FetchFailure.DISK,
        r"(?:unable to|could not|cannot) (?:create|open|write|append).*: (?:Permission denied|Not a dir)",
    ),
    (FetchFailure.TOO_LARGE, r"died of signal 25|File too large|[Oo]ut of memory|Cannot allocate memory"),
    (FetchFailure.NO_GIT, r"cannot (?:run|exec) |remote helper|is not a git command|ssh: (?:command )?not found"),
    (FetchFailure.HOST_KEY, r"[Hh]ost key (?:is known|for .* has changed)"),
    (FetchFailure.HOST_KEY, r"Host key verification failed|HOST IDENTIFICATION"),
    (FetchFailure.DNS, r"[Cc]ould not resolve (?:host|proxy)|Name or service not known|name resolution"),
    (FetchFailure.AUTHENTICATION, r"UNPROTECTED PRIVATE KEY|Load key .*|Identity file .* not accessible"),
    (
        FetchFailure.AUTHENTICATION,
        r"Permission denied \(|Too many authentication failures|(?:code|response) 407|error: 40[137]\b",
    ),
    (FetchFailure.AUTHENTICATION, r"Authentication failed|could not read (?:Username|Password)"),
    (FetchFailure.MOVED, r"error: 30\d\b|redirect"),
    (FetchFailure.NOT_FOUND, r"error: 4(?:04|10)\b|repository '.*' not found|[Rr]epository not found"),
    (FetchFailure.NOT_FOUND, r"not appear to be a git repository|is this a git repository"),
    (FetchFailure.NO_BRANCH, r"couldn't find remote ref|no such remote ref"),
    (FetchFailure.TLS, r"certificate|handshake|SSL (?:connection|routines)|PEM|private key|CAfile"),
    (FetchFailure.NETWORK, r"error: (?:4\d\d|5\d\d)\b|[Cc]onnect(?:ion)?\b|recv error|RPC failed|early EOF|CONNECT"),
    (FetchFailure.NETWORK, r"disconnect|hung up|Empty reply|Network is|No route|transfer closed|timed out|read error"),
    (
        FetchFailure.DAMAGED,
        r"shallow|not our ref|unadvertised|bad object|corrupt|missing|unresolved delta|index-pack|necessary objects",
    ),
    (FetchFailure.DAMAGED, r"inflate|bad (?:pack|tree|ref|line)|invalid|malformed|pack has|protocol error|not a tree"),
    (FetchFailure.NETWORK, r"Could not read from remote repository|unable to access"),
)
_RULES = tuple((failure, re.compile(pattern)) for failure, pattern in _CAUSES)


def failure_of(
    result: Result, otherwise: FetchFailure = FetchFailure.OTHER, secrets: Collection[str] = ()
) -> FetchError:
    """The error of a command that failed. `secrets` are blanked in its detail."""
    if result.stopped is not None:
        return result.stopped
    lines = [line for line in result.errors.splitlines() if line.strip(" @")]
    own = [line for line in lines if not line.startswith("remote: ")]
    for failure, rule in _RULES:
        for line in own:
            if rule.search(line):
                return FetchError(failure, _printable(line, secrets))
    if result.code < 0:  # git had no time to say why, so nothing is known about the repository
        return FetchError(FetchFailure.OTHER, f"git was ended by signal {-result.code}")
    important = [line for line in own if line.startswith(("fatal:", "error:"))]
    detail = (important or lines or [f"git ended with code {result.code}"])[0]
    return FetchError(otherwise, _printable(detail, secrets))


def _printable(line: str, secrets: Collection[str]) -> str:
    """The line without secrets, control characters, and the user information of URLs."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        line = line.replace(secret, "***")
    words = "".join(letter if letter.isprintable() else " " for letter in line).split()
    return re.sub(r"(?<=://)[^\s/@']*@", "", " ".join(words))[:_LONGEST]
