"""`assure-agent explain`: where a request is, why, and what comes next."""

from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

import typer

from agent.cli.get import sentence
from agent.cli.output import Format, print_json
from agent.cli.state_file import store_settings
from agent.core.admission import ScanNoteKind
from agent.core.errors import AgentError
from agent.core.policy import Policy
from agent.core.record import Hold, Record
from agent.core.retry import holds_new_work
from agent.core.timestamps import format_optional_timestamp
from agent.ports import MetaKey
from agent.ports.store import Attempt, FailedImageDeletion
from agent.store.lock import holder
from agent.store.readonly import ReadOnlyStore
from agent.store.request_queries import Refusal
from agent.views.explain import (
    FOLLOWING,
    HOLDS,
    NO_CONTEXT,
    RequestContext,
    describe_attempt,
    describe_state,
    hold_answers,
    next_step,
    relative_time,
)
from agent.views.plan import Action, if_changed, if_removed

_MAX_ATTEMPTS = 20  # attempts that are shown


def explain(
    name: Annotated[str, typer.Argument(help="The name of the request.")],
    output: Annotated[Format, typer.Option("--output", "-o", help="table or json.")] = Format.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Explain a request: where it is and why, what was tried, what comes next, and what a person can do.

    Read-only; works while the agent runs and when it does not. Exit codes: 0 fine, 1 no such request.

    Example: assure-agent explain customer-4711
    """
    from agent.platform.clock import SystemClock

    settings = store_settings(state)
    found: list[tuple[Record, list[Attempt], RequestContext]] = []
    refusals: list[Refusal] = []
    if settings.state_path.exists():
        runs = holder(settings.state_path) is not None  # else no circuit is open
        with ReadOnlyStore(settings.state_path) as reading:
            reading.freeze()
            around = partial(_context, reading, reading.recovery(), runs)  # asked first: an agent at work goes on
            found = [(one, reading.attempts(one.uid, _MAX_ATTEMPTS), around(one)) for one in reading.find(name)]
            refusals = reading.refused(name)
    if not found and not refusals:
        raise AgentError(f"There is no request named {name}.", "see all of them with `assure-agent get`")
    now = SystemClock().now()
    items = [as_json(record, attempts, now, settings.policy, around) for record, attempts, around in found]
    if output is Format.JSON:
        print_json({"items": items, "refused": [asdict(refusal) for refusal in refusals]})
        return
    for (_, attempts, _), item in zip(found, items, strict=True):
        _print(item, attempts, now)
    for refusal in refusals:
        typer.echo(f"Its file was refused at the last scan: {sentence(refusal)}")


def _context(
    reading: ReadOnlyStore, recovery: tuple[str, bool, bool] | None, runs: bool, record: Record
) -> RequestContext:
    from agent.platform.endpoint_health import from_json

    why, _, approved = recovery or ("", False, False)
    recovering = bool(why) and not approved
    return RequestContext(
        paused_since=reading.recall_time(MetaKey.PAUSED),
        recovering=recovering,
        gated=recovering and holds_new_work(why),
        circuit=(reading.recall(MetaKey.CIRCUIT) or "") if runs else "",
        troubles=tuple(
            f"Calls to {name} fail: {sentence}."
            for name, _, sentence in from_json(reading.recall(MetaKey.ENDPOINTS))
            if runs
        ),
        link_lost=reading.has_lost_link(record),
        waiting_withdrawals=reading.waiting_withdrawals(),
        scan_notes=tuple(reading.scan_notes(record.uid)),
        failed_deletion=reading.failed_image_deletion_of(record.uid),
    )


def as_json(
    record: Record, attempts: list[Attempt], now: float, policy: Policy, context: RequestContext = NO_CONTEXT
) -> dict[str, Any]:
    """All that is told of a request; what is absent is null."""
    following = next_step(record, now, policy, context)
    policy = replace(policy, recovering=context.recovering)
    removed = if_removed(record, now, policy) if record.present else None
    return {
        "name": record.name,
        "generation": record.generation,
        "mode": record.desired.mode,
        "phase": record.phase,
        "state": record.state,
        "outcome": record.outcome,
        "where": list(describe_state(record, now, context)),
        "attempts": [_attempt_json(attempt) for attempt in attempts],
        "next": {
            "at": format_optional_timestamp(following.at),
            "effect": following.effect,
            "sentence": following.sentence,
        },
        "ifChanged": _action_json(if_changed(record, now, policy)),
        "ifRemoved": _action_json(removed) if removed is not None else None,
        "pausedSince": format_optional_timestamp(context.paused_since) if context.paused_since else None,
        "linkLost": context.link_lost,
        "paused": context.paused_since is not None,
        "circuit": context.circuit or None,
        "troubles": list(context.troubles),
        "strayAnswer": next((one.hold_id for one in context.scan_notes if one.kind is ScanNoteKind.STRAY_ANSWER), None),
        "imagesUndeleted": _failed_deletion_json(context.failed_deletion),
        "withdrawalWaits": record.present and context.withdrawal_waits,
        "hold": _hold_json(record, record.hold) if record.hold is not None else None,
    }


def _failed_deletion_json(failed: FailedImageDeletion | None) -> dict[str, Any] | None:
    if failed is None:
        return None
    return {
        "since": format_optional_timestamp(failed.since),
        "tries": failed.tries,
        "cause": failed.cause,
        "triedAgainAt": format_optional_timestamp(failed.due_at),
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "generation": attempt.generation,
        "effect": attempt.effect,
        "at": format_optional_timestamp(attempt.intended_at),
        "answeredAt": format_optional_timestamp(attempt.answered_at),
        "result": attempt.result,
        "status": attempt.status,
        "trouble": attempt.trouble,
        "cause": attempt.cause or None,
        "traceId": attempt.trace_id or None,
    }


def _action_json(consequence: tuple[Action, str]) -> dict[str, str]:
    action, reason = consequence
    return {"action": action.value, "sentence": f"{FOLLOWING[action]} ({reason})"}


def _hold_json(record: Record, hold: Hold) -> dict[str, Any]:
    meaning, remedy = HOLDS[hold.reason]
    commands, annotation = hold_answers(record, hold)
    return {
        "id": hold.id,
        "reason": hold.reason,
        "since": format_optional_timestamp(hold.at),
        "evidence": hold.evidence or None,
        "meaning": meaning,
        "remedy": remedy,
        "commands": commands,
        "annotation": annotation,
    }


def _print(item: dict[str, Any], attempts: list[Attempt], now: float) -> None:
    typer.echo(" ".join(item["where"]))
    if attempts:
        typer.echo("\nWhat was tried:")
    for attempt in attempts:
        typer.echo(f"  {attempt.number}. {relative_time(attempt.intended_at, now)}: {describe_attempt(attempt)}")
    typer.echo(f"\nWhat comes next: {item['next']['sentence']}")
    _print_what_if(item)
    if (hold := item["hold"]) is not None:
        evidence = f" Evidence: {hold['evidence']}." if hold["evidence"] else ""
        typer.echo(f"\nThe hold {hold['id']} ({hold['reason']}): {hold['meaning']}{evidence} {hold['remedy']}")
        typer.echo("Answer it with one of:")
        for command in hold["commands"]:
            typer.echo(f"  {command}")
        typer.echo(f"or through git, with this annotation in the file:\n  {hold['annotation']}")


def _print_what_if(item: dict[str, Any]) -> None:
    if item["withdrawalWaits"]:
        typer.echo(f"If the withdrawals are approved: {item['ifRemoved']['sentence']}.")
        typer.echo("If its file is put back as it was: it goes on, and nothing starts anew.")
        return
    typer.echo(f"If its file asked for something else now: {item['ifChanged']['sentence']}.")
    if item["ifRemoved"] is not None:
        typer.echo(f"If its file were removed now: {item['ifRemoved']['sentence']}.")
