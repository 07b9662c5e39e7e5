"""The result of a verification of the audit, and the checkpoint file that it compares with the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.store.audit.checkpoints import BREAK, ORIGIN, Checkpoint, MalformedCheckpoint, effective


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference from the written history. `event` counts in the order of writing, `seq` within the request.

    `command` counts the commands of operators in the order of execution.
    """

    what: str
    event: int | None = None
    uid: str | None = None
    seq: int | None = None
    command: int | None = None

    @property
    def where(self) -> str:
        """The place of the difference, as far as it is known."""
        parts = [f"event {self.event}"] if self.event is not None else []
        parts += [f"event {self.seq} of request {self.uid}"] if self.uid is not None else []
        parts += [f"command {self.command}"] if self.command is not None else []
        return ", ".join(parts) or "the checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """The content of a checkpoint file: all lines, those that still apply, and the faults of the file itself."""

    lines: tuple[Checkpoint, ...]
    effective: tuple[Checkpoint, ...]
    faults: tuple[str, ...]

    @classmethod
    def read(cls, lines: Iterator[Checkpoint], noted: tuple[int, str] | None) -> "CheckpointFile":
        """Read the lines. `noted` is the note in the database about the last one."""
        read: list[Checkpoint] = []
        faults: list[str] = []
        try:
            read.extend(lines)
        except MalformedCheckpoint as error:
            faults.append(f"line {error.line} of the checkpoints cannot be read")
        faults += _faults(read)
        if noted is not None and noted not in {(line.number, line.hash) for line in read}:
            faults.append(f"checkpoint {noted[0]}, which the database noted, is missing")
        return cls(lines=tuple(read), effective=tuple(effective(read)), faults=tuple(faults))


def _faults(read: Sequence[Checkpoint]) -> Iterator[str]:
    """The first fault of the chain of lines, and each break that an agent found."""
    for before, line in pairwise((ORIGIN, *read)):
        if line.number != before.number + 1 or line.previous != before.hash:
            yield f"checkpoint {line.number} does not follow checkpoint {before.number}: lines between them are missing"
            break
        if line.with_hash().hash != line.hash:
            yield f"checkpoint {line.number} is not what was written"
            break
    for line in read:
        if line.kind == BREAK:
            yield (
                f"at checkpoint {line.number} ({line.at}) the agent found the journal or the checkpoints truncated or "
                f"changed: only {line.event} events were unchanged"
            )


def disagreement(file: CheckpointFile, copy: CheckpointFile) -> Iterator[Finding]:
    """The differences between the checkpoint file and a copy of it."""
    ours = {line.number: line.hash for line in file.lines}
    for line in copy.lines:
        if ours.get(line.number) != line.hash:
            yield Finding(what=f"checkpoint {line.number} of the copy is not in the file next to the database")
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The result of `verify`. Findings are in the order of writing. Notices are not faults."""

    requests: int
    events: int
    commands: int  # of operators
    checkpoints: int
    covered: int  # events up to the last checkpoint that still applies
    last: str | None  # the time of the last checkpoint
    findings: tuple[Finding, ...]
    notices: tuple[str, ...]
