"""`assure-agent explain`: where a request is, why, and what comes next."""

from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

import typer

from agent.cli.get import sentence
from agent.cli.output import Format, print_json
from agent.cli.state_file import store_settings
from agent.core.admission import RemarkKind
from agent.core.errors import AgentError
from agent.core.policy import Policy
from agent.core.record import Hold, Record
from agent.core.retry import gated
from agent.store.lock import holder
from agent.store.readonly import Attempt, Reading, Refusal
from agent.views.explain import FOLLOWING, HOLDS, NOTHING_AROUND, Around, Undeleted, answers, coming, time, tried, where
from agent.views.plan import Action, if_changed, if_removed
from agent.views.resource import when

_MOST = 20  # attempts that are told


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
    found: list[tuple[Record, list[Attempt], Around]] = []
    refusals: list[Refusal] = []
    if settings.state_path.exists():
        runs = holder(settings.state_path) is not None  # else no circuit is open
        with Reading(settings.state_path) as reading:
            reading.freeze()
            around = partial(_around, reading, reading.recovery(), runs)  # asked first: an agent at work goes on
            found = [(one, reading.attempts(one.uid, _MOST), around(one)) for one in reading.named(name)]
            refusals = reading.refused(name)
    if not found and not refusals:
        raise AgentError(f"There is no request named {name}.", "see all of them with `assure-agent get`")
    now = SystemClock().now()
    told = [as_json(record, attempts, now, settings.policy, around) for record, attempts, around in found]
    if output is Format.JSON:
        print_json({"items": told, "refused": [asdict(refusal) for refusal in refusals]})
        return
    for (_, attempts, _), item in zip(found, told, strict=True):
        _print(item, attempts, now)
    for refusal in refusals:
        typer.echo(f"Its file was refused at the last scan: {sentence(refusal)}")


def _around(reading: Reading, recovery: tuple[str, bool, bool] | None, runs: bool, record: Record) -> Around:
    from agent.assure.account import CIRCUIT, ENDPOINTS
    from agent.daemon.commands import PAUSED, paused_since
    from agent.platform.endpoint_health import remembered

    why, _, approved = recovery or ("", False, False)
    recovering = bool(why) and not approved
    return Around(
        paused_since=paused_since(reading.recall(PAUSED)),
        recovering=recovering,
        gated=recovering and gated(why),
        circuit=(reading.recall(CIRCUIT) or "") if runs else "",
        troubles=tuple(
            f"Calls to {name} fail: {sentence}." for name, _, sentence in remembered(reading.recall(ENDPOINTS)) if runs
        ),
        linkless=reading.linkless(record),
        waiting=reading.waiting_withdrawals(),
        remarks=tuple(reading.remarks(record.uid)),
        undeleted=reading.undeleted_of(record.uid),
    )


def as_json(
    record: Record, attempts: list[Attempt], now: float, policy: Policy, around: Around = NOTHING_AROUND
) -> dict[str, Any]:
    """All that is told of a request; what is absent is null."""
    following = coming(record, now, policy, around)
    policy = replace(policy, recovering=around.recovering)
    removed = if_removed(record, now, policy) if record.present else None
    return {
        "name": record.name,
        "generation": record.generation,
        "mode": record.desired.mode,
        "phase": record.phase,
        "state": record.state,
        "outcome": record.outcome,
        "where": list(where(record, now, around)),
        "attempts": [_attempt(attempt) for attempt in attempts],
        "next": {"at": when(following.at), "effect": following.effect, "sentence": following.sentence},
        "ifChanged": _following(if_changed(record, now, policy)),
        "ifRemoved": _following(removed) if removed is not None else None,
        "pausedSince": when(around.paused_since) if around.paused_since else None,
        "linkLost": around.linkless,
        "paused": around.paused_since is not None,
        "circuit": around.circuit or None,
        "troubles": list(around.troubles),
        "strayAnswer": next((one.about for one in around.remarks if one.kind is RemarkKind.STRAY_ANSWER), None),
        "imagesUndeleted": _undeleted(around.undeleted),
        "withdrawalWaits": record.present and around.withheld,
        "hold": _hold(record, record.hold) if record.hold is not None else None,
    }


def _undeleted(left: Undeleted | None) -> dict[str, Any] | None:
    if left is None:
        return None
    return {"since": when(left.since), "tries": left.tries, "cause": left.cause, "triedAgainAt": when(left.due_at)}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "generation": attempt.generation,
        "effect": attempt.effect,
        "at": when(attempt.intended_at),
        "answeredAt": when(attempt.answered_at),
        "result": attempt.result,
        "status": attempt.status,
        "trouble": attempt.trouble,
        "cause": attempt.cause or None,
        "traceId": attempt.trace_id or None,
    }


def _following(what: tuple[Action, str]) -> dict[str, str]:
    action, reason = what
    return {"action": action.value, "sentence": f"{FOLLOWING[action]} ({reason})"}


def _hold(record: Record, hold: Hold) -> dict[str, Any]:
    meaning, remedy = HOLDS[hold.reason]
    commands, annotation = answers(record, hold)
    return {
        "id": hold.id,
        "reason": hold.reason,
        "since": when(hold.at),
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
        typer.echo(f"  {attempt.number}. {time(attempt.intended_at, now)}: {tried(attempt)}")
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
