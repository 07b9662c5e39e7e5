"""The invariants of one reached state of an exploration [I2, I3, I5]."""

from agent.core.audit import audited, replay
from agent.core.effect import EffectKind, StartVerification
from agent.core.next_effect import next_due_at
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.core.rules.recovery import proves_store_is_stale
from agent.core.step import Step
from verification.state import State
from verification.step_invariants import check_step


def check_state(state: State, taken: Step, policy: Policy) -> None:
    """Check the invariants of a state and of the step that led to it. Raise AssertionError on a violation."""
    record = state.record
    before = audited(taken.before) if taken.before is not None else {}
    check_step(taken, replay([before, *(event.changes for event in taken.events)]))
    if taken.changed:
        assert record.due_at == next_due_at(record, state.now, policy), "due follows from the record [I1]"
    if isinstance(taken.effect, StartVerification):
        bound = dict(state.bound)
        assert bound.setdefault(record.generation, taken.effect.process_id) == taken.effect.process_id, (
            "one process per generation is started [I2]"
        )
        state.bound = tuple(bound.items())
    _check_single_start(state)
    _check_accounted(state)
    signs = [one for one in state.assure.shown(state.now) if proves_store_is_stale(record, one)]
    assert not signs, f"a current record is reported as rolled back: {signs}"
    _check_read_before_deletion(state)


def _check_single_start(state: State) -> None:
    record = state.record
    starts = state.assure.starts_of(f"aa-{record.agent}-{record.uid}-{record.generation}-")
    assert len(starts) <= 1, f"started more than once: {starts} [I2]"


def _check_accounted(state: State) -> None:
    record = state.record
    in_question = EffectKind.CREATE_DOSSIER in (record.doubt, record.intent and record.intent.kind)
    for dossier in state.assure.open_dossiers():
        ours = dossier.dossier_id == record.dossier_id and record.phase is not Phase.DONE
        sought = dossier.reference == record.reference and in_question
        assert ours or sought or dossier.reference in state.orphans, f"{dossier.dossier_id} has no owner [I3]"


def _check_read_before_deletion(state: State) -> None:
    record = state.record
    if record.outcome is None or record.outcome.value not in ("accepted", "rejected", "canceled", "failed"):
        return
    assert record.result is not None, "an outcome of Assure without its result"
    assert record.result.status.value == record.outcome.value
