"""The invariants after any step of one record [I1, I4, I5]."""

from agent.core.audit import Audited, audited
from agent.core.effect import (
    Effect,
    ReadProcess,
    StartCapture,
    StartVerification,
)
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.core.step import Step


def check_step(taken: Step, history: Audited) -> None:
    """Check the invariants of one step [I1, I4, I5]."""
    record, before, effect = taken.record, taken.before, taken.effect
    assert history == audited(record), "the history replays to the record [I5]"
    if record.phase is not Phase.DONE and record.state not in ("held", "suspended"):
        assert record.due_at is not None, "the record has a due time [I1]"
    if record.hold is not None and not record.hold.reason.blocks and record.phase is not Phase.DONE:
        assert record.due_at is not None or record.desired.suspend, "a question about the file stops nothing [I1]"
    if effect is not None and effect.kind.mutates:
        assert taken.changed, "the intent is committed with the step [I4]"
        assert record.intent is not None, "the record contains the intent [I4]"
        assert record.intent.kind is effect.kind
        assert before is None or record.intents == before.intents + 1
    if before is not None and taken.changed:
        assert record.version == before.version + 1
    if before is not None and before.intent is not None and record.intent != before.intent:
        assert taken.answered is not None, "an intent is never dropped without its answer on record"
    if isinstance(effect, StartVerification | StartCapture):
        opened = record.opened_at
        assert opened is not None
        assert record.intent is not None
        assert record.intent.at < opened + record.desired.deadline, "nothing billable after the deadline"


def check_reads(asked: list[tuple[float, Effect]], policy: Policy) -> None:
    """The last effect does not read a process that was read less than `min_read_interval` ago."""
    now, effect = asked[-1]
    if not isinstance(effect, ReadProcess):
        return
    for at, earlier in reversed(asked[:-1]):
        if now - at >= policy.min_read_interval:
            return
        same = isinstance(earlier, ReadProcess) and earlier.process_id == effect.process_id
        assert not same, f"process read {now - at} s after it was read"
