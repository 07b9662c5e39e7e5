"""`assure-agent plan`: show the changes that `run` would make."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import ImagesOption, SpecsOption, StateUrlOption
from agent.cli.output import print_json, print_table
from agent.cli.plan_source import newest_source
from agent.cli.state_file import no_store
from agent.core.errors import AgentError
from agent.core.source_revision import RefusedRevision
from agent.platform.settings import Settings, load_settings, refuse_renamed
from agent.source.diagnostics import format_location
from agent.views.phrases import RECOVERY_CAUSES, count_of, describe_ignored_files
from agent.views.plan import Action, Change, Plan, PlannedRevision, PlanRecovery
from agent.views.revisions import refusal_sentence, short, with_hint

if TYPE_CHECKING:
    from agent.admission.request_source import RequestSource


class PlanFormat(StrEnum):
    """An output format: a table for people, JSON, or Markdown for a merge request."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def plan(
    output: Annotated[
        PlanFormat,
        typer.Option(
            "--output", "-o", help="Output format: table, json, or markdown for a comment on a merge request."
        ),
    ] = PlanFormat.TABLE,
    source_url: Annotated[
        str | None, typer.Option("--source-url", help="URL of a git repository, as SOURCE_URL, instead of a folder.")
    ] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Branch of that repository, as SOURCE_BRANCH.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Folder in that repository, as SOURCE_PATH.")] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="COMMIT", help="Commit of it. Default: the head of the branch."),
    ] = None,
    specs: SpecsOption = None,
    images: ImagesOption = None,
    state_url: StateUrlOption = None,
) -> None:
    """Show the changes that `run` would make. Changes nothing.

    The changes follow from the current source and store. Below them are the fields that changed in each request, as
    `diff` shows them, but personal values are masked.

    With SOURCE_URL, the plan is for the head of the branch, or for another commit, such as that of a merge request. It
    is fetched into a temporary folder, and judged as `run` does: by its lineage and its signatures.

    Needs no credentials. Works without a store, and while an agent is running. A call to Assure that is in progress
    counts as unanswered. After the store was lost or restored, only `run` can read which dossiers Assure still has.

    Exit codes: 0 no changes, 1 error, 2 changes (or wrong use), 5 a request file, or the revision, would be refused.

    Example: assure-agent plan -o markdown
    """
    source = {"source_url": source_url, "source_branch": branch, "source_path": path, "specs_dir": specs}
    settings = load_settings(**source, images_dir=images, state_url=state_url)
    with newest_source(settings, revision) as (requests, fetched):
        found = replace(asyncio.run(make_plan(settings, requests)), revision=fetched)
    if found.no_store_yet and found.starts:
        typer.echo(_new_store(settings, found.starts), err=True)
    match output:
        case PlanFormat.JSON:
            print_json(as_json(found))
        case PlanFormat.MARKDOWN:
            typer.echo(as_markdown(found))
        case PlanFormat.TABLE:
            _print_table(found)
    if code := 5 if found.refuses else 2 if found.has_changes else 0:
        raise typer.Exit(code)


def _new_store(settings: Settings, starts: int) -> str:
    if settings.uses_database:
        missing, theirs = f"{no_store(settings)}: `run` creates them", "database"
    else:
        missing = f"There is no state file at {settings.state_path.absolute()}: `run` creates a new one"
        theirs = "state file"
    return (
        f"{missing}, and bills {count_of(starts, 'start')}. "
        f"Try: if these requests were verified before, set ASSURE_AGENT_STATE_URL to their {theirs}."
    )


async def make_plan(settings: Settings, source: "RequestSource") -> Plan:
    """The plan for these settings and this source."""
    from agent.admission import AdmissionRules
    from agent.daemon.dry_run import DryRun
    from agent.platform.clock import SystemClock
    from agent.store import lost_store, open_reading, store_exists
    from agent.store.identity_key import Keys

    keys = Keys.existing(settings.local_path, settings.key_file)
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(open_reading(settings)) if store_exists(settings) else None
        if reading is None:
            why, recovery_scan, approved = lost_store(settings), False, False
        else:
            reading.freeze()
            why, recovery_scan, approved = reading.recovery() or (None, False, False)
            refuse_renamed(settings.source_name, reading.other_source(settings.source_name))
            if keys is None and (carried := reading.carried_key()) is not None:
                keys = Keys(bytes.fromhex(carried))
            if keys is None and next(reading.all(), None) is not None:
                raise AgentError(
                    f"The key of the {settings.store_name} is missing.",
                    "restore agent.key from a backup; without it, the agent does not recognise its requests",
                )
        salt = keys or Keys(secrets.token_bytes(32))  # there is no store yet: any key works
        rules = AdmissionRules.of(settings, salt.agent_id())
        recovery = PlanRecovery(cause=why, scanned=recovery_scan) if why is not None and not approved else None
        limit, clock = settings.max_starts_per_day, SystemClock()
        return await DryRun(source, rules, reading, salt, clock, settings.policy, limit, recovery).plan()


def as_json(found: Plan) -> dict[str, Any]:
    """A plan as JSON; absent values are null."""
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
                "fields": change.diff.json() if change.diff is not None and change.diff.changes else [],
            }
            for change in found.changes
        ],
        "starts": found.starts,
        "withdrawalsStopped": found.stopped,
        "budgetLeft": found.budget_left,
        "complete": found.complete,
        "passedOver": list(found.passed_over),
        "recovery": found.recovery.cause if found.recovery is not None else None,
        "revision": _revision_json(found.revision) if found.revision is not None else None,
    }


def _revision_json(revision: PlannedRevision) -> dict[str, Any]:
    refusal = None
    if (refused := revision.refused) is not None:
        message, hint = _refusal(revision, refused)
        refusal = {"reason": refused.reason, "commit": refused.commit, "message": message, "hint": hint}
    return {"commit": revision.commit, "branch": revision.branch, "refusal": refusal}


_MAX_ROWS = 500  # rows of a comment


def as_markdown(found: Plan) -> str:
    """A comment for a merge request: a table of the changes, and the number of unchanged requests."""
    rows = [change for change in found.changes if change.action is not Action.NOTHING]
    lines = ["### assure-agent plan", "", *(f"{sentence}  " for sentence in summary(found))]
    if rows:
        lines += ["", "| request | action | why | billable starts |", "|---|---|---|---:|"]
        lines += [
            f"| {escaped(_title(change))} | {_action(change)} | {escaped(_reason(change))} | {change.starts} |"
            for change in rows[:_MAX_ROWS]
        ]
    if len(rows) > _MAX_ROWS:
        lines += ["", f"... and {len(rows) - _MAX_ROWS} more."]
    if fields := list(changed_fields(rows[:_MAX_ROWS])):
        lines += ["", "```diff", *(line.replace("`", "'") for line in fields), "```"]
    return "\n".join(lines)


def changed_fields(changes: Iterable[Change]) -> Iterator[str]:
    """The changed fields of requests that are neither new nor removed, in unified form, without personal values."""
    for change in changes:
        if change.diff is not None and change.diff.changes:
            yield from change.diff.lines(change.name)


def escaped(text: str) -> str:
    """Text escaped for Markdown, HTML and a table cell; `@` mentions no user."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~>$-])", r"\\\1", " ".join(text.split()))


def summary(found: Plan) -> Sequence[str]:
    """The sentences above or below the table."""
    sentences = [] if found.revision is None else list(_describe_revision(found.revision))
    if found.recovery is not None:
        sentences.append(_recovery(found.recovery))
    counts = [f"{len(found.of(action))} {action}" for action in Action if found.of(action)]
    sentences.append(", ".join(counts) + "." if counts else "Nothing to do: no requests.")
    sentences.append(f"Billable starts in total: {found.starts}.")
    if found.budget_left is not None:
        sentences.append(f"Today's start budget still allows {found.budget_left}.")
    if found.stopped:
        sentences.append(f"Withdrawals that wait for approval, because they are too many at once: {found.stopped}.")
    if found.passed_over:
        sentences.append(describe_ignored_files(found.passed_over))
    if not found.complete:
        sentences.append("Part of the source could not be read, so no request is withdrawn.")
    return sentences


def _describe_revision(revision: PlannedRevision) -> Iterator[str]:
    of_branch = f", the head of branch {revision.branch}" if revision.branch is not None else ""
    yield f"Revision {short(revision.commit)}{of_branch}."
    if revision.refused is not None:
        sentence, hint = _refusal(revision, revision.refused)
        yield with_hint(sentence, hint)


def _refusal(revision: PlannedRevision, refused: RefusedRevision) -> tuple[str, str]:
    """Why the agent would not act on the revision, and a hint. A commit of a merge request needs no approval."""
    sentence, hint = refusal_sentence(refused)
    if revision.branch is None and refused.reason.needs_approval:
        hint = "rebase the commit onto the branch, or plan the result of the merge"
    return sentence, hint


def _recovery(recovery: PlanRecovery) -> str:
    cause = f"The store {RECOVERY_CAUSES[recovery.cause]}"
    if recovery.scanned:
        return f"{cause}: requests held with history-lost wait for `assure-agent approve`."
    return f"{cause}: `run` first reads from Assure which dossiers it still has."


def _print_table(found: Plan) -> None:
    if found.changes:
        rows = [[_title(change), _action(change), str(change.starts), _reason(change)] for change in found.changes]
        print_table(("request", "action", "starts", "why"), rows)
        for line in changed_fields(found.changes):
            typer.echo(line)
    typer.echo(" ".join(summary(found)))


def _title(change: Change) -> str:
    return change.name or f"{change.file}:{change.line}"


def _action(change: Change) -> str:
    return f"{change.action} (stopped)" if change.stopped else change.action.value


def _reason(change: Change) -> str:
    if change.action is not Action.REFUSE:
        return change.reason
    return f"{format_location(change.file, change.line, change.column, change.reason)}. Try: {change.hint}"
