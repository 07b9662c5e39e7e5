"""`assure-agent resolve`: decide holds."""

from collections.abc import Sequence
from typing import Annotated

import typer

from agent.cli.chosen_requests import AllOption, named, selected, send_each
from agent.cli.confirmation import DryRunOption, YesOption, confirm
from agent.cli.options import StateUrlOption
from agent.cli.request_names import complete_request_name
from agent.cli.selectors import OutcomeOption, PhaseOption, ReasonOption, Selection, SelectorOption, StateOption
from agent.cli.state_file import store_settings
from agent.core.record import HoldAnswer, HoldReason, Record
from agent.views.phrases import count_of


def _complete_word(context: typer.Context, incomplete: str) -> list[str]:
    """The names and the answers that begin with this text."""
    answers = [answer.value for answer in HoldAnswer if answer.value.startswith(incomplete)]
    return complete_request_name(context, incomplete) + answers


def resolve(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME]... ANSWER",
            help="Names of held requests, then retry, abandon, or adopt DOSSIER_ID.",
            autocompletion=_complete_word,
        ),
    ],
    everything: AllOption = False,
    selector: SelectorOption = None,
    phase: PhaseOption = None,
    state: StateOption = None,
    outcome: OutcomeOption = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    state_url: StateUrlOption = None,
) -> None:
    """Decide holds by the answer retry, abandon or adopt.

    retry continues, and verifies a changed file. abandon gives up, and the agent deletes the dossier. adopt takes an
    existing dossier for one request. If the hold is about a changed file, abandon leaves the change to a later
    `rerun`, and keeps an earlier outcome.

    The command asks before a retry that Assure may bill again, and before it abandons a selection.

    Exit codes: 0 resolved, 1 unknown request, request that is not held, or not confirmed, 2 wrong use, or no terminal
    to ask on.

    Example: assure-agent resolve --all --reason refused-by-assure -l team=onboarding retry
    """
    names, answer, dossier = _parsed(words)
    settings = store_settings(state_url)
    selection = Selection.parse(selector, phase, state, outcome, reason)
    records = selected(settings, names, everything, selection, _is_held)
    by_selection = records is not None
    if records is None:
        records = named(settings, names)
        commands = [{"name": name} for name in names]
    else:
        commands = [
            {"name": one.name, "uid": one.uid, "holdId": one.hold.id} for one in records if one.hold is not None
        ]
    if not commands:
        typer.echo("No held request matches.", err=True)
        return
    if dry_run:
        for one in records:
            typer.echo(_effect(one, answer))
        return
    if question := _question(records, answer, by_selection):
        confirm(question, yes)
    send_each(settings, "resolve", [one | {"answer": answer.value, "dossierId": dossier} for one in commands])


def _parsed(words: Sequence[str]) -> tuple[list[str], HoldAnswer, str | None]:
    """The names, the answer, and the dossier of adopt. Raises BadParameter."""
    *before, last = words
    if last in (HoldAnswer.RETRY, HoldAnswer.ABANDON):
        return list(dict.fromkeys(before)), HoldAnswer(last), None
    if len(before) == 2 and before[1] == HoldAnswer.ADOPT:
        return before[:1], HoldAnswer.ADOPT, last
    if last == HoldAnswer.ADOPT or (before and before[-1] in [*HoldAnswer]):
        raise typer.BadParameter("adopt needs one request and the id of a dossier; retry and abandon accept no id.")
    raise typer.BadParameter(f"{last!r} is not an answer. End with retry, abandon, or adopt DOSSIER_ID.")


def _is_held(record: Record) -> bool:
    return record.hold is not None


def _bills_again(record: Record, answer: HoldAnswer) -> bool:
    """True if the request was billed already, or may have been, and the answer starts a verification."""
    reason = record.hold.reason if record.hold else None
    again = reason is not None and (reason.about_document or reason is HoldReason.HISTORY_LOST)
    return again and answer is HoldAnswer.RETRY


def _effect(record: Record, answer: HoldAnswer) -> str:
    if record.hold is None:
        return f"{record.name}: is not held, so it would be refused"
    billed = ", and may be billed again" if _bills_again(record, answer) else ""
    return f"{record.name}: would be resolved with {answer} ({record.hold.reason}, {record.hold.id}){billed}"


def _question(records: Sequence[Record], answer: HoldAnswer, by_selection: bool) -> str:
    """The question before the answer is sent; empty if none is necessary."""
    if billed := sum(_bills_again(one, answer) for one in records):
        return f"Verify {count_of(billed, 'request')} again? Assure may bill each start again."
    if by_selection and answer is HoldAnswer.ABANDON:
        return f"Abandon {count_of(len(records), 'request')}? The agent deletes their dossiers."
    return ""
