"""`assure-agent plan`: what `run` would do with the folder as it is now."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.output import print_json, print_table
from agent.core.errors import AgentError
from agent.platform.settings import Settings, load_settings, refuse_renamed
from agent.source.diagnostics import located
from agent.views.explain import counted, passed_over
from agent.views.plan import Action, Change, Plan, Recovery


class PlanFormat(StrEnum):
    """How to print: a table for people, JSON, or Markdown for a merge request."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def plan(
    output: Annotated[
        PlanFormat, typer.Option("--output", "-o", help="table, json, or markdown for a comment on a merge request.")
    ] = PlanFormat.TABLE,
    specs: Annotated[Path | None, typer.Option("--specs", help="The folder of request files, as SPECS_DIR.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="The images folder, as IMAGES_DIR.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Show what `run` would do with the folder and the store as they are now. Changes nothing.

    Needs no credentials; works without a store and while an agent runs. A call to Assure that is under way counts as
    unanswered; where the store was lost or put back, only `run` can tell what Assure still has. Exit codes: 0 nothing
    to do, 2 changes are waiting (or wrong use), 5 something would be refused (whatever else is waiting), 1 error.

    Example: assure-agent plan -o markdown
    """
    settings = load_settings(specs_dir=specs, images_dir=images, state_url=state)
    found = asyncio.run(rehearse(settings))
    if found.first and found.starts:
        typer.echo(_new_store(settings.state_path, found.starts), err=True)
    match output:
        case PlanFormat.JSON:
            print_json(as_json(found))
        case PlanFormat.MARKDOWN:
            typer.echo(as_markdown(found))
        case PlanFormat.TABLE:
            _print_table(found)
    if code := 5 if found.of(Action.REFUSE) else 2 if found.waiting else 0:
        raise typer.Exit(code)


def _new_store(path: Path, starts: int) -> str:
    return (
        f"There is no state file at {path.absolute()}: `run` makes a new one, and bills {counted(starts, 'start')}. "
        "Try: if these requests were verified before, set ASSURE_AGENT_STATE_URL to the state file of then."
    )


async def rehearse(settings: Settings) -> Plan:
    """The plan for these settings."""
    from agent.admission import Rules
    from agent.daemon.dry_run import Rehearsal
    from agent.platform.clock import SystemClock
    from agent.source.folder import Folder
    from agent.store.identity_key import Keys
    from agent.store.readonly import Reading
    from agent.store.rollback_detection import foreseen

    path = settings.state_path
    keys = Keys.existing(path)
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(Reading(path)) if path.exists() else None
        if reading is None:
            why, looked, approved = foreseen(None, path), False, False
        else:
            reading.freeze()
            why, looked, approved = reading.recovery() or (None, False, False)
            refuse_renamed(settings.source_name, reading.other_source(settings.source_name))
            if keys is None and (carried := reading.carried_key()) is not None:
                keys = Keys(bytes.fromhex(carried))
            if keys is None and next(reading.all(), None) is not None:
                raise AgentError(
                    f"The key beside the state file {path} is missing.",
                    "restore agent.key from a backup; without it, the agent recognises none of its requests",
                )
        salt = keys or Keys(secrets.token_bytes(32))  # nothing is known yet: any will do
        rules = Rules.of(settings, salt.agent_id())
        folder = Folder.of(settings, settle=0)
        recovery = Recovery(why=why, looked=looked) if why is not None and not approved else None
        limit, clock = settings.max_starts_per_day, SystemClock()
        return await Rehearsal(folder, rules, reading, salt, clock, settings.policy, limit, recovery).plan()


def as_json(found: Plan) -> dict[str, Any]:
    """A plan as JSON; what is absent is null."""
    return {
        "changes": [
            {
                "name": change.name or None,
                "action": change.action,
                "reason": change.reason,
                "file": change.file or None,
                "line": change.line or None,
                "column": change.column or None,
                "hint": change.hint or None,
                "starts": change.starts,
                "stopped": change.stopped,
            }
            for change in found.changes
        ],
        "starts": found.starts,
        "withdrawalsStopped": found.stopped,
        "budgetLeft": found.budget_left,
        "complete": found.complete,
        "passedOver": list(found.passed_over),
        "recovery": found.recovery.why if found.recovery is not None else None,
    }


_MOST_ROWS = 500  # of a comment


def as_markdown(found: Plan) -> str:
    """A comment for a merge request: what changes as a table; what stays as it is, as a number."""
    rows = [change for change in found.changes if change.action is not Action.NOTHING]
    lines = ["### assure-agent plan", "", *(f"{sentence}  " for sentence in summary(found))]
    if rows:
        lines += ["", "| request | action | why | billable starts |", "|---|---|---|---:|"]
        lines += [
            f"| {escaped(_title(change))} | {_action(change)} | {escaped(_why(change))} | {change.starts} |"
            for change in rows[:_MOST_ROWS]
        ]
    if len(rows) > _MOST_ROWS:
        lines += ["", f"... and {len(rows) - _MOST_ROWS} more."]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that Markdown and HTML leave alone, fit for a table cell; nobody is mentioned."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~>$-])", r"\\\1", " ".join(text.split()))


def summary(found: Plan) -> Sequence[str]:
    """The sentences that stand above or below the table."""
    sentences = [] if found.recovery is None else [_recovery(found.recovery)]
    counts = [f"{len(found.of(action))} {action}" for action in Action if found.of(action)]
    sentences.append(", ".join(counts) + "." if counts else "Nothing to do: no requests.")
    sentences.append(f"Billable starts in all: {found.starts}.")
    if found.budget_left is not None:
        sentences.append(f"Today's budget still allows {found.budget_left}.")
    if found.stopped:
        sentences.append(f"Withdrawals that wait for approval, being many at once: {found.stopped}.")
    if found.passed_over:
        sentences.append(passed_over(found.passed_over))
    if not found.complete:
        sentences.append("Some of the folder could not be read: nothing is withdrawn.")
    return sentences


_WHY = {
    "lost": "The state file was lost",
    "older": "The state file is an older copy",
    "restored": "The state file was restored from a backup",
}


def _recovery(recovery: Recovery) -> str:
    if recovery.looked:
        return f"{_WHY[recovery.why]}: what is held with history-lost waits for `assure-agent approve`."
    return f"{_WHY[recovery.why]}: `run` asks Assure first what it still has."


def _print_table(found: Plan) -> None:
    if found.changes:
        rows = [[_title(change), _action(change), str(change.starts), _why(change)] for change in found.changes]
        print_table(("request", "action", "starts", "why"), rows)
    typer.echo(" ".join(summary(found)))


def _title(change: Change) -> str:
    return change.name or f"{change.file}:{change.line}"


def _action(change: Change) -> str:
    return f"{change.action} (stopped)" if change.stopped else change.action.value


def _why(change: Change) -> str:
    if change.action is not Action.REFUSE:
        return change.reason
    return f"{located(change.file, change.line, change.column, change.reason)}. Try: {change.hint}"
