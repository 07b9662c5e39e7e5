"""The JSON of `assure-agent explain`. An absent value is null."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent.core.admission import ScanNoteKind
from agent.core.policy import Policy
from agent.core.record import Record
from agent.core.timestamps import format_optional_timestamp
from agent.ports.store import Attempt, FailedImageDeletion
from agent.views.explain import NO_CONTEXT, RequestContext, describe_state, next_step
from agent.views.holds import hold_help
from agent.views.plan import Action, if_changed, if_removed
from agent.views.resource import record_json

FOLLOWING = {
    Action.CREATE: "it would be verified",
    Action.RERUN: "it would be verified again",
    Action.CHANGE: "the agent would apply the change and start nothing",
    Action.WITHDRAW: "it would be withdrawn, and its dossier deleted",
    Action.REFUSE: "it would be refused",
    Action.HOLD: "it would be held for the operator's decision",
    Action.NOTHING: "the agent would start nothing",
}


def explanation_json(
    record: Record, attempts: Sequence[Attempt], now: float, policy: Policy, context: RequestContext = NO_CONTEXT
) -> dict[str, Any]:
    """The state of a request, its calls, its next step, and what a change of its file would cause."""
    following = next_step(record, now, policy, context)
    policy = replace(policy, recovering=context.recovering)
    return {
        **record_json(record),
        "where": list(describe_state(record, now, context)),
        "attempts": [_attempt_json(attempt) for attempt in attempts],
        "next": {
            "at": format_optional_timestamp(following.at),
            "effect": following.effect,
            "sentence": following.sentence,
        },
        "ifChanged": _action_json(*if_changed(record, now, policy)),
        "ifRemoved": _action_json(*if_removed(record, now, policy)) if record.present else None,
        "pausedSince": format_optional_timestamp(context.paused_since) if context.paused_since else None,
        "linkLost": context.link_lost,
        "paused": context.paused_since is not None,
        "circuit": context.circuit or None,
        "troubles": list(context.troubles),
        "strayAnswer": next((one.hold_id for one in context.scan_notes if one.kind is ScanNoteKind.STRAY_ANSWER), None),
        "imagesUndeleted": _failed_deletion_json(context.failed_deletion),
        "withdrawalWaits": record.present and context.withdrawal_waits,
        "hold": _hold_json(record),
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
        "words": attempt.words or None,
    }


def _action_json(action: Action, reason: str) -> dict[str, str]:
    return {"action": action.value, "sentence": f"{FOLLOWING[action]} ({reason})"}


def _hold_json(record: Record) -> dict[str, Any] | None:
    hold = record.hold
    if hold is None:
        return None
    return {
        "id": hold.id,
        "reason": hold.reason,
        "since": format_optional_timestamp(hold.at),
        "evidence": hold.evidence or None,
        **hold_help(record, hold),
    }
