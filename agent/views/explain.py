"""A record described in sentences. Of all personal data they contain only the request's name [I6]."""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.duration import format_duration
from agent.core.effect import EffectKind
from agent.core.next_effect import deletion_deadline, effect_for, overdue
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.holds import accepts_dossier
from agent.core.timestamps import format_timestamp
from agent.ports.store import Attempt, FailedImageDeletion
from agent.views.plan import Action

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

FOLLOWING = {
    Action.CREATE: "it would be verified",
    Action.RERUN: "it would be verified again",
    Action.CHANGE: "the agent would apply the change and start nothing",
    Action.WITHDRAW: "it would be withdrawn, and its dossier deleted",
    Action.REFUSE: "it would be refused",
    Action.HOLD: "it would be held for the operator's decision",
    Action.NOTHING: "the agent would start nothing",
}

HOLDS = {
    HoldReason.BACK_IMAGE_REQUIRED: (
        "Assure requires both sides of this document, and the request has no back image. Nothing was billed.",
        "Add the back image to the file: the verification then starts again automatically.",
    ),
    HoldReason.IMAGES_CHANGED: (
        "An image file changed after its admission, so the agent creates and sends nothing more.",
        "Put the admitted image back: the request then continues automatically. To use other images, change the file.",
    ),
    HoldReason.IMAGES_DIFFER: (
        "Assure returned a different image than the agent uploaded, so the agent did not start the verification.",
        "Retry with the same images, or abandon the request.",
    ),
    HoldReason.DOCUMENT_TYPE_GONE: (
        "Assure no longer offers the document type that the request was admitted with.",
        "Find the current type with `assure-agent document-types` and change the file; or retry when Assure offers it.",
    ),
    HoldReason.REFUSED: (
        "Assure refused a call and gave a reason. The same call would be refused again.",
        "Correct what Assure refuses (the file, or the account), then retry.",
    ),
    HoldReason.UNEXPECTED_ANSWER: (
        "Assure sent four answers that its documentation does not describe.",
        "Send the evidence to Signicat; then retry, or abandon the request.",
    ),
    HoldReason.HISTORY_LOST: (
        "The state file was lost or replaced by a copy, and Assure has no trace of this request. "
        "It may already have been verified and billed.",
        "If it was not, retry; if it was, abandon. `assure-agent approve` retries all requests with this hold.",
    ),
    HoldReason.CLAIMS_NOT_KEPT: (
        "The verification is accepted, but the agent cannot store its claims: CLAIMS_KEY is not set, or a disk fails.",
        "Set CLAIMS_KEY, or free disk space next to the state file: the request then continues automatically. Abandon "
        "continues without the claims, with the outcome accepted; so does the deadline. Until then the dossier "
        "stays at Assure.",
    ),
    HoldReason.CHANGED_AFTER_START: (
        "The file was changed after the verification was billed or finished. The agent continues with the earlier "
        "version.",
        "Retry verifies the changed file, and Assure bills it again. Abandon ends the earlier verification, keeps "
        "an existing outcome, and leaves the changed file to a later rerun. Or restore the earlier content of the file. "
        "Until then the agent applies no change of the file.",
    ),
    HoldReason.REAPPEARED_AFTER_START: (
        "The file is back, after the request was withdrawn and billed. The agent started nothing for it.",
        "Retry verifies the request again, and Assure bills it again. Abandon keeps it withdrawn, and leaves the "
        "file to a later rerun. Or remove the file.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Facts about a request that are not in its record."""

    paused_since: float | None = None  # the operator paused the agent; 0.0: the time is unknown
    recovering: bool = False  # the store was lost or replaced by a copy, and the operator has not approved yet
    gated: bool = False  # the store is a copy: the agent starts nothing new
    circuit: str = ""  # why the running agent sends only probes: outage, token, credentials, missing
    troubles: tuple[str, ...] = ()  # why its calls fail, a sentence for each endpoint
    link_lost: bool = False  # the end user has not finished, and the capture link is lost
    waiting_withdrawals: int = 0  # withdrawals that wait for the operator's approval
    scan_notes: tuple[ScanNote, ...] = ()  # of the last scan
    failed_deletion: FailedImageDeletion | None = None  # the agent could not delete the image files

    @property
    def withdrawal_waits(self) -> bool:
        """True if the file is gone and the withdrawal waits for approval."""
        return any(remark.kind is ScanNoteKind.WITHDRAWAL_WAITS for remark in self.scan_notes)


NO_CONTEXT = RequestContext()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The next step of a request: its time (None: unknown), its effect (None: no call), and a sentence."""

    at: float | None
    effect: EffectKind | None
    sentence: str


def describe_state(record: Record, now: float, context: RequestContext = NO_CONTEXT) -> Iterator[str]:
    """Describe the state of a request and its reasons, in sentences."""
    yield (
        f"{record.name} is a request of kind {record.desired.mode}, generation {record.generation}, attempt "
        f"{record.attempt}, admitted at {relative_time(record.admitted_at, now)}."
    )
    yield f"It has been in phase {record.phase} since {relative_time(record.phase_at, now)}: {PHASES[record.phase]}."
    if record.outcome is not None:
        yield f"Its outcome has been {record.outcome} since {relative_time(record.outcome_at or 0.0, now)}."
    if record.billed:
        yield "It was billed: the agent started the verification or handed out a capture link."
    if record.hold is not None:
        yield f"It has been held since {relative_time(record.hold.at, now)}: {record.hold.reason}."
    if record.declined and record.present:
        kept = "" if record.outcome in (None, Outcome.ABANDONED) else ", and the earlier outcome is kept"
        yield (
            f"The operator abandoned the changed or returned file{kept}. To verify the file as it is now, run "
            f"`assure-agent rerun {record.name}` or set a new `assure-agent/rerun` token in it."
        )
    if record.desired.suspend and record.outcome is None:
        yield "Its file suspends it."
    if not record.present:
        yield "Its file is gone."
    if record.next is not None:
        yield "A newer document follows as soon as the agent has deleted the dossier at Assure."
    if record.doubt is not None and record.doubt_since is not None:
        yield (
            f"The answer to a call was lost at {relative_time(record.doubt_since, now)} ({EFFECTS[record.doubt]}). "
            "The agent reads at Assure whether it happened before it repeats the call."
        )
    if record.failures:
        yield f"Its calls failed {record.failures} times in a row; the agent waits longer after each failure."
    yield from _describe_images(record, now, context)
    yield from _describe_context(record, now, context)


LINK_LOST = (
    "Its capture link is lost: the state file was lost, replaced by a copy or restored, and no backup contains links. "
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


def _describe_images(record: Record, now: float, context: RequestContext) -> Iterator[str]:
    """Describe image files that the agent should have deleted and has not."""
    if (left := context.failed_deletion) is not None:
        again = f"at {relative_time(left.due_at, now)}" if left.due_at > now else "at once"
        yield (
            f"Its image files are due for deletion since {relative_time(left.since, now)}. The deletion failed "
            f"({system_error(left.cause)}, tries: {left.tries}). The agent tries again {again}. "
            "Try: let the agent's user write to the images folder and its folders."
        )
    for depiction, how in record.discarded:
        if how not in ("deleted", "missing"):
            yield f"The agent did not delete its {depiction} image, because the file is not the admitted one ({how})."


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
            f"The agent is paused{since}. It starts nothing new, and continues to poll and delete what is at Assure. "
            "To continue, run `assure-agent resume`."
        )
    if context.gated and record.phase is not Phase.DONE:
        yield (
            "The state file is an older copy or a restored one: the agent starts nothing new before "
            "`assure-agent approve`."
        )
    if context.circuit and record.phase is not Phase.DONE:
        yield CIRCUITS.get(context.circuit, CIRCUITS["outage"])
    if record.phase is not Phase.DONE:
        yield from context.troubles
    for remark in context.scan_notes:
        if remark.kind is not ScanNoteKind.STRAY_ANSWER:
            continue
        named = f"names {remark.hold_id}, which is not open" if remark.hold_id else "does not name its open hold"
        open_one = f" The open hold is {record.hold.id}." if record.hold is not None else ""
        yield f"The annotation `assure-agent/resolve` in its file {named}: the agent ignores it.{open_one}"


def next_step(record: Record, now: float, policy: Policy, context: RequestContext = NO_CONTEXT) -> NextStep:
    """Describe what the agent does next for a request."""
    if record.intent is not None:
        kind, since = record.intent.kind, relative_time(record.intent.at, now)
        sentence = (
            f"The agent has waited for the answer to a call since {since} ({EFFECTS[kind]}). "
            "If the agent crashed, the answer is unknown."
        )
        return NextStep(at=record.intent.at, effect=kind, sentence=sentence)
    if record.due_at is None:
        return NextStep(at=None, effect=None, sentence=_describe_waiting(record))
    at, clock = record.due_at, deletion_deadline(record, policy)
    if record.phase is not Phase.DELETION and clock is not None and at >= clock and record.blocked:
        sentence = (
            f"At {relative_time(clock, now)} it ends as expired and its dossier is deleted, even while it is held."
        )
        return NextStep(at=clock, effect=None, sentence=sentence)
    kind = effect_for(record, max(at, now), policy).kind
    if context.paused_since is not None and kind.starts_work:
        sentence = f"The agent is paused; after `assure-agent resume` it will {EFFECTS[kind]}."
    elif context.gated and kind.starts_work:
        sentence = f"The agent waits for `assure-agent approve`; then it will {EFFECTS[kind]}."
    elif context.circuit:
        sentence = f"When the circuit breaker closes, the agent will {EFFECTS[kind]}."
    else:
        sentence = f"{_describe_due(at, now, record)} the agent will {EFFECTS[kind]}."
    if clock is not None and not overdue(record, now, policy):
        sentence += f" Without a result by {relative_time(clock, now)} it ends as expired."
    return NextStep(at=at, effect=kind, sentence=sentence)


def describe_attempt(attempt: Attempt) -> str:
    """Describe a call and Assure's answer."""
    what = EFFECTS[EffectKind(attempt.effect)]
    if attempt.result is None:
        return f"{what}: not answered yet"
    how = [f"HTTP {attempt.status}" if attempt.status else attempt.trouble, attempt.cause]
    detail = ", ".join(part for part in how if part)
    return f"{what}: {attempt.result}" + (f" ({detail})" if detail else "")


def hold_answers(record: Record, hold: Hold) -> tuple[list[str], str]:
    """The commands that resolve a hold, and the annotation that resolves it through git."""
    choices = ("retry", "abandon", "adopt DOSSIER_ID") if accepts_dossier(record) else ("retry", "abandon")
    commands = [f"assure-agent resolve {quote(record.name)} {choice}" for choice in choices]
    return commands, f'assure-agent/resolve: "retry@{hold.id}"'


def relative_time(at: float, now: float) -> str:
    """A time with its distance from now."""
    seconds = float(round(abs(at - now)))
    away = f"{format_duration(seconds)} ago" if at <= now else f"in {format_duration(seconds)}"
    return f"{format_timestamp(at)} ({away})"


def _describe_due(at: float, now: float, record: Record) -> str:
    if at <= now:
        return "As soon as an agent runs and has a free slot,"
    return (
        f"Its retention ends at {relative_time(at, now)}; then"
        if record.in_retention
        else f"At {relative_time(at, now)}"
    )


def _describe_waiting(record: Record) -> str:
    if record.hold is not None:
        return "The agent waits for the operator's decision."
    if record.phase is Phase.DONE:
        return "Nothing: the request is finished."
    return "The request is suspended. Remove `suspend: true` from its file to continue."


_MAX_FILES = 5


def describe_ignored_files(files: Sequence[str]) -> str:
    """Report files of the source that the agent ignores because of their names, with a hint."""
    shown = ", ".join(files[:_MAX_FILES]) + (f" and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else "")
    what = "The agent ignores 1 file" if len(files) == 1 else f"The agent ignores {len(files)} files"
    return f"{what}: {shown}. Try: end the name in .yaml or .yml, or list it in .assureignore."
