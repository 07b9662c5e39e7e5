"""What a record means, in sentences. They hold the request's name and nothing else that could be personal [I6]."""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Protocol

from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.duration import format_duration
from agent.core.effect import EffectKind
from agent.core.next_effect import deletion_deadline, effect_for, overdue
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.holds import accepts_dossier
from agent.core.timestamps import format_timestamp
from agent.views.plan import Action

PHASES = {
    Phase.DOSSIER: "a dossier at Assure is to be created",
    Phase.PROCESS: "its dossier exists, and a process or a capture flow in it is to be created",
    Phase.IMAGES: "the images are to be uploaded",
    Phase.VERIFICATION: "the verification is to be started, which is the billable act",
    Phase.RESULT: "the result is awaited",
    Phase.DELETION: "the dossier at Assure is to be deleted, and its deletion confirmed",
    Phase.DONE: "nothing is owed any more, and nothing of it is left at Assure",
}

EFFECTS = {
    EffectKind.RESERVE_START: "take a start from the budget of the day",
    EffectKind.CREATE_DOSSIER: "create a dossier",
    EffectKind.CREATE_PROCESS: "create a process",
    EffectKind.START_CAPTURE: "start the capture flow",
    EffectKind.UPLOAD_IMAGES: "upload the images",
    EffectKind.START_VERIFICATION: "start the verification (billable)",
    EffectKind.DELETE_DOSSIER: "delete the dossier",
    EffectKind.VERIFY_IMAGES: "check that the images are what was admitted",
    EffectKind.FIND_DOSSIER: "look for the dossier whose creation was not answered",
    EffectKind.READ_DOSSIER: "read the dossier",
    EffectKind.READ_PROCESS: "read the process",
    EffectKind.COMPARE_IMAGES: "compare the images that Assure has with those that were admitted",
}

FOLLOWING = {
    Action.CREATE: "it would be verified",
    Action.RERUN: "it would be verified anew",
    Action.CHANGE: "that would be applied, and nothing would start",
    Action.WITHDRAW: "it would be withdrawn, and its dossier deleted",
    Action.REFUSE: "it would be refused",
    Action.HOLD: "a person would be asked",
    Action.NOTHING: "nothing would start",
}

HOLDS = {
    HoldReason.BACK_IMAGE_REQUIRED: (
        "The document has two pages at Assure, and the request has no back image. Nothing was billed.",
        "Add the back image to the file: that begins anew by itself.",
    ),
    HoldReason.IMAGES_CHANGED: (
        "An image file is not what was admitted, so nothing more is created or sent.",
        "Put the admitted image back: it goes on by itself. For other images, change the file.",
    ),
    HoldReason.IMAGES_DIFFER: (
        "Assure returned another image than the one that was uploaded, so the verification was not started.",
        "Retry with the same images, or give it up.",
    ),
    HoldReason.DOCUMENT_TYPE_GONE: (
        "The country and type of the document do not mean any more what they meant when it was admitted.",
        "Look it up with `assure-agent document-types` and change the file; or retry, when it is back.",
    ),
    HoldReason.REFUSED: (
        "Assure refused a call in its own words; asking the same again would not help.",
        "Mend what Assure refuses (the file, or the account), then retry.",
    ),
    HoldReason.UNEXPECTED_ANSWER: (
        "Assure answered four times with something that its documentation does not know.",
        "Look at the evidence and ask Signicat with it; then retry, or give it up.",
    ),
    HoldReason.HISTORY_LOST: (
        "The state file was lost or put back, and Assure does not show what became of this request: it may have been "
        "verified and billed already.",
        "If it was not, retry; if it was, abandon. `assure-agent approve` retries all of these.",
    ),
    HoldReason.CLAIMS_NOT_KEPT: (
        "The verification is accepted, and its claims cannot be encrypted: CLAIMS_KEY is not set, or the disk fails.",
        "Set CLAIMS_KEY, or make room beside the state file: it goes on by itself. Abandon goes on without the claims: "
        "the outcome is accepted, as it will be at the deadline. Until then the dossier stays at Assure.",
    ),
    HoldReason.CHANGED_AFTER_START: (
        "The file was changed after the verification was billed or had finished; the earlier document goes on.",
        "Retry verifies the file as it is now, and is billed again. Abandon gives the earlier verification up (an "
        "outcome that is there already stands) and leaves the file to a later rerun. Or put its earlier content back. "
        "Nothing else of the file is applied meanwhile.",
    ),
    HoldReason.REAPPEARED_AFTER_START: (
        "The file is back after it was withdrawn and billed; nothing was started for it.",
        "Retry verifies it afresh, and is billed again. Abandon leaves it withdrawn, and the file to a later rerun. "
        "Or remove the file.",
    ),
}


class FailedDeletion(Protocol):
    """A deletion of image files that failed, as the store has it."""

    @property
    def tries(self) -> int: ...
    @property
    def since(self) -> float: ...
    @property
    def due_at(self) -> float: ...
    @property
    def cause(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What concerns a request and does not stand in its record."""

    paused_since: float | None = None  # a person paused the agent; 0.0: when is not known
    recovering: bool = False  # the store was lost or put back, and no person approved yet
    gated: bool = False  # it was put back: nothing is begun meanwhile
    circuit: str = ""  # why the running agent sends nothing but probes: outage, token, credentials, missing
    troubles: tuple[str, ...] = ()  # why its calls fail, a sentence for each endpoint
    link_lost: bool = False  # a person is waited for, and their capture link is lost
    waiting_withdrawals: int = 0  # withdrawals that wait for an approval
    scan_notes: tuple[ScanNote, ...] = ()  # of the last scan
    failed_deletion: FailedDeletion | None = None  # its image files should be gone, and could not be deleted

    @property
    def withdrawal_waits(self) -> bool:
        """Its file is gone, and its withdrawal waits."""
        return any(remark.kind is ScanNoteKind.WITHDRAWAL_WAITS for remark in self.scan_notes)


NO_CONTEXT = RequestContext()

CIRCUITS = {
    "outage": "Assure answers nobody just now: nothing is sent but probes, and all goes on by itself once it answers.",
    "token": "The token endpoint gives no token: nothing else is sent until it does.",
    "credentials": (
        "Assure does not accept the client: nothing is sent but probes. A person has to correct the client id, the "
        "secret or the permissions of the API client; `assure-agent doctor` names the cause."
    ),
    "missing": (
        "Nothing is sent to Assure but probes, because more of what should be there is missing than is believed: most "
        "often that is another account (`assure-agent doctor` tells which). If it was deleted there indeed, as after a "
        "state file was put back, `assure-agent resume` says so: then its request ends as lost, or goes on."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What comes next: when (None: only when something happens), which effect (None: no call), and a sentence."""

    at: float | None
    effect: EffectKind | None
    sentence: str


def describe_state(record: Record, now: float, context: RequestContext = NO_CONTEXT) -> Iterator[str]:
    """Where it is and why."""
    yield (
        f"{record.name} is a request of kind {record.desired.mode}, generation {record.generation}, attempt "
        f"{record.attempt}, admitted at {relative_time(record.admitted_at, now)}."
    )
    yield f"It is in phase {record.phase} since {relative_time(record.phase_at, now)}: {PHASES[record.phase]}."
    if record.outcome is not None:
        yield f"Its outcome is {record.outcome}, since {relative_time(record.outcome_at or 0.0, now)}."
    if record.billed:
        yield "It was billed: the verification was started, or a capture link was handed out."
    if record.hold is not None:
        yield f"It is held since {relative_time(record.hold.at, now)}: {record.hold.reason}."
    if record.declined and record.present:
        stands_value = "" if record.outcome in (None, Outcome.ABANDONED) else ", and the outcome that it had stands"
        yield (
            f"A person answered `abandon` when its file was changed or was back{stands_value}; `assure-agent rerun "
            f"{record.name}` would verify the file as it is now, and so would a new `assure-agent/rerun` token in it."
        )
    if record.desired.suspend and record.outcome is None:
        yield "Its file suspends it."
    if not record.present:
        yield "Its file is gone."
    if record.next is not None:
        yield "A newer document follows as soon as what is at Assure is deleted."
    if record.doubt is not None and record.doubt_since is not None:
        yield (
            f"The answer to a call was lost at {relative_time(record.doubt_since, now)} ({EFFECTS[record.doubt]}). "
            "The agent reads at Assure whether it happened before it repeats the call."
        )
    if record.failures:
        yield f"It met trouble {record.failures} times in a row; the pauses grow."
    yield from _describe_images(record, now, context)
    yield from _describe_context(record, now, context)


LINK_LOST = (
    "Its capture link is lost and cannot be handed out any more: the state file was lost, put back or restored, and no "
    "backup has links. Who has it already may still finish, and the result is taken; else it expires at its deadline."
)


def system_error(cause: str) -> str:
    """What the system said, by the name of an errno."""
    number = getattr(errno, cause, None)
    return f"{cause}, {os.strerror(number)}" if number is not None else cause


def new_link_command(name: str) -> str:
    """What to try when the link is lost."""
    return f"`assure-agent rerun {quote(name)}` begins anew with another link, and is billed again"


def count_of(number: int, what: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def count_withdrawals(waiting: int) -> str:
    """How many wait."""
    return "1 withdrawal waits" if waiting == 1 else f"{waiting:,} withdrawals wait"


def _describe_images(record: Record, now: float, context: RequestContext) -> Iterator[str]:
    """Those that should be deleted here and are not."""
    if (left := context.failed_deletion) is not None:
        again = (
            f"it is tried again {relative_time(left.due_at, now)}" if left.due_at > now else "it is tried again at once"
        )
        yield (
            f"Its image files are due for deletion since {relative_time(left.since, now)}. The deletion failed "
            f"({system_error(left.cause)}, tries: {left.tries}); {again}. "
            "Try: let the agent's user write to the images folder and its folders."
        )
    for depiction, how in record.discarded:
        if how not in ("deleted", "missing"):
            yield f"Its {depiction} image was not deleted, because the file is not what was admitted ({how})."


def _describe_context(record: Record, now: float, context: RequestContext) -> Iterator[str]:
    if context.link_lost:
        yield f"{LINK_LOST} Try: {new_link_command(record.name)}."
    if record.present and context.withdrawal_waits:
        yield (
            f"Its file is gone. {count_withdrawals(context.waiting_withdrawals)} for approval, including this one, "
            "because too many files are gone at once, or their folder is empty or another one. "
            "Try: put the files back, or withdraw the requests with `assure-agent approve`."
        )
    if context.paused_since is not None and record.phase is not Phase.DONE:
        since = f" since {relative_time(context.paused_since, now)}" if context.paused_since else ""
        yield (
            f"The agent is paused{since}: nothing new is begun, and what runs at Assure is observed and deleted. "
            "`assure-agent resume` lets it go on."
        )
    if context.gated and record.phase is not Phase.DONE:
        yield "The state file is an older copy or a restored one: nothing is begun before `assure-agent approve`."
    if context.circuit and record.phase is not Phase.DONE:
        yield CIRCUITS.get(context.circuit, CIRCUITS["outage"])
    if record.phase is not Phase.DONE:
        yield from context.troubles
    for remark in context.scan_notes:
        if remark.kind is not ScanNoteKind.STRAY_ANSWER:
            continue
        named = f"answers {remark.hold_id}, which is not open" if remark.hold_id else "is no answer to its hold"
        open_one = f" The open hold is {record.hold.id}." if record.hold is not None else ""
        yield f"The annotation `assure-agent/resolve` in its file {named}: it is ignored.{open_one}"


def next_step(record: Record, now: float, policy: Policy, context: RequestContext = NO_CONTEXT) -> NextStep:
    """What comes next."""
    if record.intent is not None:
        kind, since = record.intent.kind, relative_time(record.intent.at, now)
        sentence = f"The answer to a call is awaited since {since} ({EFFECTS[kind]}); after a crash it is unknown."
        return NextStep(at=record.intent.at, effect=kind, sentence=sentence)
    if record.due_at is None:
        return NextStep(at=None, effect=None, sentence=_describe_waiting(record))
    at, clock = record.due_at, deletion_deadline(record, policy)
    blocked = record.desired.suspend or (record.hold is not None and record.hold.reason.blocks)
    if record.phase is not Phase.DELETION and clock is not None and at >= clock and blocked:
        sentence = (
            f"At {relative_time(clock, now)} it ends as expired and its dossier is deleted, whatever is undecided."
        )
        return NextStep(at=clock, effect=None, sentence=sentence)
    kind = effect_for(record, max(at, now), policy).kind
    if context.paused_since is not None and kind.starts_work:
        sentence = f"Nothing while the agent is paused; after `assure-agent resume` it will {EFFECTS[kind]}."
    elif context.gated and kind.starts_work:
        sentence = f"Nothing before `assure-agent approve`; then it will {EFFECTS[kind]}."
    elif context.circuit:
        sentence = f"Once calls to Assure go on, it will {EFFECTS[kind]}."
    else:
        sentence = f"{_describe_due(at, now, record)} it will {EFFECTS[kind]}."
    if clock is not None and not overdue(record, now, policy):
        sentence += f" Without a result by {relative_time(clock, now)} it ends as expired."
    return NextStep(at=at, effect=kind, sentence=sentence)


class AttemptView(Protocol):
    """One attempt at an effect that changes something at Assure, as the store has it."""

    @property
    def effect(self) -> str: ...
    @property
    def result(self) -> str | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def trouble(self) -> str | None: ...
    @property
    def cause(self) -> str | None: ...


def describe_attempt(attempt: AttemptView) -> str:
    """What was tried, and how Assure answered."""
    what = EFFECTS[EffectKind(attempt.effect)]
    if attempt.result is None:
        return f"{what}: not answered yet"
    how = [f"HTTP {attempt.status}" if attempt.status else attempt.trouble, attempt.cause]
    detail = ", ".join(part for part in how if part)
    return f"{what}: {attempt.result}" + (f" ({detail})" if detail else "")


def hold_answers(record: Record, hold: Hold) -> tuple[list[str], str]:
    """How a person answers a hold: the commands, and the annotation for those who answer through git."""
    choices = ("retry", "abandon", "adopt DOSSIER_ID") if accepts_dossier(record) else ("retry", "abandon")
    commands = [f"assure-agent resolve {quote(record.name)} {word}" for word in choices]
    return commands, f'assure-agent/resolve: "retry@{hold.id}"'


def relative_time(at: float, now: float) -> str:
    """A time, and how far away it is."""
    seconds = float(round(abs(at - now)))
    away = f"{format_duration(seconds)} ago" if at <= now else f"in {format_duration(seconds)}"
    return f"{format_timestamp(at)} ({away})"


def _describe_due(at: float, now: float, record: Record) -> str:
    if at <= now:
        return "As soon as an agent runs and is free,"
    return (
        f"Its retention ends at {relative_time(at, now)}; then"
        if record.in_retention
        else f"At {relative_time(at, now)}"
    )


def _describe_waiting(record: Record) -> str:
    if record.hold is not None:
        return "Nothing happens until a person decides."
    if record.phase is Phase.DONE:
        return "Nothing: it is finished."
    return "Nothing happens until its file does not suspend it any more."


_MAX_FILES = 5


def describe_ignored_files(files: Sequence[str]) -> str:
    """Files of the source whose names only look like those of request files, and what to do."""
    shown = ", ".join(files[:_MAX_FILES]) + (f" and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else "")
    what = "1 file is passed over" if len(files) == 1 else f"{len(files)} files are passed over"
    return f"{what}: {shown}. Try: let its name end in .yaml or .yml, or list it in .assureignore."
