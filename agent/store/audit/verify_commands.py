"""Verification of the operators' commands: their chain, the note of its end, and the events that name them."""

from collections.abc import Iterator, Mapping, Sequence

from agent.core.timestamps import format_timestamp
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint
from agent.store.audit.connection import AuditConnection
from agent.store.audit.report import Finding
from agent.store.identity_key import Keys
from agent.store.operator_commands import COLUMNS, Note, command_hash, note_seal

Named = Mapping[str, tuple[int, str, int]]  # the hash of a command -> its event: event, uid, seq
_CHAIN = f"SELECT hash, {', '.join(COLUMNS)} FROM commands ORDER BY number"  # noqa: S608 - constant


def verify_commands(
    audit: AuditConnection, keys: Keys | None, named: Named, checkpoints: Sequence[Checkpoint]
) -> Iterator[Finding]:
    """The first changed command, and the commands that the note, the events and the checkpoints miss.

    The checkpoints are compared only if there is no other finding.
    """
    faulty = False
    for finding in _faults(audit, keys, named):
        faulty = True
        yield finding
    if not faulty:
        heads = dict(audit.stream("SELECT number, hash FROM commands"))
        yield from _check_checkpoints(heads, checkpoints)


def _faults(audit: AuditConnection, keys: Keys | None, named: Named) -> Iterator[Finding]:
    heads: dict[int, str] = {0: ""}
    uids: dict[str, str | None] = {}
    broken = False
    for digest, *values in audit.stream(_CHAIN):
        number, uid = values[0], values[4]
        if not isinstance(number, int):
            broken = True
            yield Finding(what="the agent never writes such a command")
            continue
        if not broken:
            fault = _fault(keys, heads, digest, values)
            broken = fault is not None
            if fault is not None:
                yield fault
        heads[number], uids[digest] = digest, uid
    yield from _check_end(Note.parse(audit.recall(MetaKey.COMMANDS)), keys, heads)
    for digest, (event, uid, seq) in named.items():
        if digest not in uids or uids[digest] != uid:
            yield Finding(event=event, uid=uid, seq=seq, what="the command that the event names is missing")


def _fault(keys: Keys | None, heads: Mapping[int, str], digest: str, values: Sequence[object]) -> Finding | None:
    number, _, at, verb = values[:4]
    assert isinstance(number, int)
    if number - 1 not in heads:
        return Finding(command=max(heads) + 1, what="the command is missing, or moved")
    try:
        right = keys is None or command_hash(keys, heads[number - 1], tuple(values)) == digest
        when = format_timestamp(at)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return Finding(command=number, what="the agent never writes such a command")
    return None if right else Finding(command=number, what=f"the command ({verb} of {when}) is not what was written")


def _check_end(note: Note | None, keys: Keys | None, heads: Mapping[int, str]) -> Iterator[Finding]:
    last = max(heads)
    if note is None:
        yield Finding(what="the note of the last command is missing or invalid")
    elif note.number > last:
        yield Finding(command=last + 1, what=f"the commands after {last} were removed: there were {note.number}")
    elif note.number < last:
        yield Finding(command=note.number + 1, what=f"the commands after {note.number} were inserted")
    elif keys is not None and note.seal != "" and note.seal != note_seal(keys, note.number, heads[last]):
        yield Finding(command=last or None, what="the note of the last command is not what was written")


def _check_checkpoints(heads: Mapping[int, str], checkpoints: Sequence[Checkpoint]) -> Iterator[Finding]:
    good = 0
    for line in checkpoints:
        number = line.commands
        if number and heads.get(number) != line.commands_head:
            what = (
                f"one of the commands {good + 1} to {number} was changed, removed, inserted or moved: checkpoint "
                f"{line.number} ({line.at}) has others"
            )
            yield Finding(command=good + 1, what=what)
            return
        good = number
