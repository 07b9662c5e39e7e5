"""`assure-agent approve`: approve mass withdrawals, new work after a recovery, or a replaced branch."""

import typer

from agent.cli.agent_client import send_command
from agent.cli.confirmation import DryRunOption, YesOption, confirm
from agent.cli.options import StateUrlOption
from agent.cli.state_file import require_store, store_settings
from agent.core.record import HoldReason
from agent.platform.settings import Settings
from agent.store import open_reading
from agent.views.phrases import capitalized, count_of, count_withdrawals
from agent.views.revisions import approval_sentence


def approve(dry_run: DryRunOption = False, yes: YesOption = False, state_url: StateUrlOption = None) -> None:
    """Approve withdrawals, a recovery, or a replaced branch.

    Withdrawals wait for approval if many files were removed at once. After the store was lost or restored, requests
    wait if Assure has no trace of them. After the approval, the agent verifies them, and Assure bills them. With
    SOURCE_URL, a revision waits if it does not descend from the one that the agent acts on. The command asks before it
    acts.

    Exit codes: 0 approved, 1 error, or not confirmed, 2 no terminal to ask on.

    Example: assure-agent approve
    """
    settings = store_settings(state_url)
    effects, revision = _effects(settings)
    if dry_run:
        typer.echo("\n".join(effects) or "Nothing waits for an approval.")
        return
    if effects:
        confirm(f"{' '.join(effects)} Approve?", yes)
    typer.echo(send_command(settings, "approve", revision=revision))


def _effects(settings: Settings) -> tuple[list[str], str]:
    """One sentence for each thing that waits for the approval, and the revision that waits; empty if none does.

    The agent compares the revision: another one may arrive before the operator answers.
    """
    require_store(settings)
    with open_reading(settings) as reading:
        recovery, withdrawals = reading.recovery(), reading.waiting_withdrawals()
        revisions = reading.revision_state(settings.source_name)
        lost = dict(reading.held()).get(HoldReason.HISTORY_LOST, 0)
    effects = []
    if withdrawals:
        effects.append(f"{count_withdrawals(withdrawals)}: the agent ends them and deletes their dossiers.")
    if recovery is not None and not recovery[2]:
        effects.append("New work waits after a recovery, and Assure bills what the agent then starts.")
    if lost:
        effects.append(f"{count_of(lost, 'request')} of which Assure has no trace would be verified, and billed.")
    revision = ""
    if (sentence := approval_sentence(revisions)) is not None:
        assert revisions.refused is not None
        revision = revisions.refused.revision
        effects.append(f"{capitalized(sentence)}.")
    return effects, revision
