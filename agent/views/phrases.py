"""Phrases that several commands and pages share: phases, effects, causes, counts and times."""

import errno
import os
from collections.abc import Sequence
from shlex import quote

from agent.core.duration import format_duration
from agent.core.effect import EffectKind
from agent.core.record import Phase
from agent.core.timestamps import format_timestamp

PHASES = {
    Phase.DOSSIER: "the agent will create a dossier at Assure",
    Phase.PROCESS: "its dossier exists, and the agent will create a process or start a capture flow in it",
    Phase.IMAGES: "the agent will upload the images",
    Phase.VERIFICATION: "the agent will start the verification, which Assure bills",
    Phase.RESULT: "the agent waits for the result",
    Phase.DELETION: "the agent will delete the dossier at Assure and confirm the deletion",
    Phase.DONE: "it is finished, and nothing of it is left at Assure",
}

EFFECTS = {
    EffectKind.RESERVE_START: "reserve a start from today's budget",
    EffectKind.CREATE_DOSSIER: "create a dossier",
    EffectKind.CREATE_PROCESS: "create a process",
    EffectKind.START_CAPTURE: "start the capture flow",
    EffectKind.UPLOAD_IMAGES: "upload the images",
    EffectKind.START_VERIFICATION: "start the verification (billable)",
    EffectKind.DELETE_DOSSIER: "delete the dossier",
    EffectKind.VERIFY_IMAGES: "check that the image files are the admitted ones",
    EffectKind.FIND_DOSSIER: "search for the dossier whose create call was not answered",
    EffectKind.READ_DOSSIER: "read the dossier",
    EffectKind.READ_PROCESS: "read the process",
    EffectKind.COMPARE_IMAGES: "compare the images at Assure with the admitted ones",
}

CIRCUITS = {
    "outage": (
        "Assure is not responding. The agent sends only probes and continues automatically when Assure recovers."
    ),
    "token": "The token endpoint issues no token. The agent sends nothing else until it does.",
    "credentials": (
        "Assure does not accept the API client. The agent sends only probes until the operator corrects the client id, "
        "the secret or the client's permissions; `assure-agent doctor` names the cause."
    ),
    "missing": (
        "The agent sends only probes, because more dossiers are missing at Assure than it accepts "
        "without a confirmation. "
        "The usual cause is a wrong account: run `assure-agent doctor`. If the dossiers were really deleted, run "
        "`assure-agent resume`: each of their requests then ends as lost, or continues."
    ),
}

RECOVERY_CAUSES = {
    "lost": "was lost",
    "older": "is an older copy",
    "restored": "was restored from a backup",
}
"""Why the store needs a recovery. The subject is the store."""

SUSPENDED_REMEDY = "remove `suspend: true` from its file to continue"

LINK_LOST = (
    "Its capture link is lost: the store was lost, replaced by a copy or restored, and no backup contains links. "
    "An end user who already has the link can finish, and the agent accepts the result. Otherwise the request expires "
    "at its deadline."
)


def system_error(cause: str) -> str:
    """The name of an errno with the system's message."""
    number = getattr(errno, cause, None)
    return f"{cause}, {os.strerror(number)}" if number is not None else cause


def new_link_command(name: str) -> str:
    """The hint for a lost capture link."""
    return f"`assure-agent rerun {quote(name)}` starts again with a new link, and Assure bills it again"


def count_of(number: int, what: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def count_withdrawals(waiting: int) -> str:
    """`1 withdrawal waits`, `2 withdrawals wait`."""
    return "1 withdrawal waits" if waiting == 1 else f"{waiting:,} withdrawals wait"


def relative_time(at: float, now: float) -> str:
    """A time with its distance from now."""
    seconds = float(round(abs(at - now)))
    away = f"{format_duration(seconds)} ago" if at <= now else f"in {format_duration(seconds)}"
    return f"{format_timestamp(at)} ({away})"


_MAX_FILES = 5


def describe_ignored_files(files: Sequence[str]) -> str:
    """Report files of the source that the agent ignores because of their names, with a hint."""
    shown = ", ".join(files[:_MAX_FILES]) + (f" and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else "")
    what = "The agent ignores 1 file" if len(files) == 1 else f"The agent ignores {len(files)} files"
    return f"{what}: {shown}. Try: end the name in .yaml or .yml, or list it in .assureignore."


def capitalized(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]
