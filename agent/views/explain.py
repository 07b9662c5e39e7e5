"""A record described in sentences. Of all personal data they contain only the request's name [I6]."""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.core.admission import ScanNote, ScanNoteKind
from agent.core.effect import EffectKind
from agent.core.next_effect import deletion_deadline, effect_for, overdue
from agent.core.policy import Policy
from agent.core.record import Outcome, Phase, Record
from agent.ports.store import Attempt, FailedImageDeletion
from agent.views.phrases import (
    CIRCUITS,
    EFFECTS,
    LINK_LOST,
    PHASES,
    SUSPENDED_REMEDY,
    count_withdrawals,
    new_link_command,
    relative_time,
    system_error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Facts about a request that are not in its record."""

    paused_since: float | None = None  # the operator paused the agent, at an unknown time if 0.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The next step of a request. `at` is None if the time is unknown, `effect` if no call is needed."""

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
            "The store is an older copy or a restored one: the agent starts nothing new before `assure-agent approve`."
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
    how = [f"HTTP {attempt.status}" if attempt.status else attempt.trouble, attempt.cause, attempt.words]
    detail = ", ".join(part for part in how if part)
    return f"{what}: {attempt.result}" + (f" ({detail})" if detail else "")


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
        return "None. The request is finished."
    return f"The request is suspended. {SUSPENDED_REMEDY.capitalize()}."
