"""Whatever is done to names, labels, origins and people's commands behind the agent's back, the audit finds it [I5]."""

from pathlib import Path

import asyncpg
import pytest

from agent.core.errors import AgentError
from agent.core.machine import step
from agent.core.observations import DocumentChanged, DocumentReturned
from agent.core.record import Origin, Phase
from agent.ports import Command
from agent.store import open_audit
from agent.store.audit.checkpoints import checkpoint_path, lines
from agent.store.audit.deletion_certificate import certificates
from agent.store.contract import Store
from agent.store.reading.reads import Query
from agent.store.sqlite.backup import back_up, restore
from verification.audits import verified
from verification.builders.lives import DEFAULT_POLICY, Life
from verification.builders.records import NOW, upload

from .engines import Engine
from .support import committed, opened, rows

ALICES = Origin(author="Alice <alice@example>", file_commit="a1" * 20, signer="alice@example SHA256:AlicesKey")
BOBS = Origin(author="Bob <bob@example>")  # without a signature
ALICE = {"labels": (("team", "red"), ("tier", "1")), "file": "alice.yaml", "origin": ALICES}
BOB = {"labels": (("team", "blue"),), "file": "bob.yaml", "origin": BOBS}


async def applied(store: Store, verb: str, uid: str | None = None, sender: str = "root (uid 0)") -> None:
    ((number,),) = await store.query(Query("SELECT count(*) FROM commands"))
    command = Command(id=f"command-{number}", verb=verb, uid=uid, sender=sender)
    answer = "forgotten" if verb == "forget" else f"name-{uid} answered"
    await store.apply_command(command, answer, NOW + number)


async def peopled(store: Store) -> None:
    """Two requests with labels and origins, and six commands, two of them about a request."""
    await committed(store, Life("u1", upload(**ALICE)).until(Phase.DONE))
    await committed(store, Life("u2", upload(**BOB)).until(Phase.RESULT))
    for verb, uid in (("pause", None), ("resume", None), ("show-personal", "u1"), ("page", None), ("resolve", "u2")):
        await applied(store, verb, uid)
    await applied(store, "approve", None, "deploy (uid 1001)")


@pytest.fixture
async def closed(engine: Engine) -> Engine:
    """Such a store, closed; of before its first checkpoint."""
    async with engine.opened() as store:
        await peopled(store)
    assert engine.verified().findings == engine.verified().notices == ()
    return engine


def found(engine: Engine) -> list[str]:
    """What the audit finds, and where."""
    return [f"{finding.where}: {finding.what}" for finding in engine.verified().findings]


async def tampered(engine: Engine, name: str, statements: str) -> bool:
    """True if the engine can hold the result. PostgreSQL has no text in a column of numbers."""
    if engine.settings.uses_database and name in IMPOSSIBLE:
        with pytest.raises(asyncpg.PostgresError):
            await engine.change(*statements.split(";"))
        return False
    await engine.change(*statements.split(";"))
    return True


IMPOSSIBLE = {"a time of text", "one whose number is a text"}
NAMES = {
    "names swapped": (
        """UPDATE requests SET name = NULL;
        UPDATE requests SET name = CASE uid WHEN 'u1' THEN 'name-u2' ELSE 'name-u1' END""",
        "its name differs from its record",
    ),
    "names swapped, also in the records": (
        """UPDATE requests SET name = NULL;
        UPDATE requests SET name = CASE uid WHEN 'u1' THEN 'name-u2' ELSE 'name-u1' END;
        UPDATE requests SET record = json_set(record, '$.name', name)""",
        "its name is not what was written",
    ),
    "a name changed, also in the record": (
        "UPDATE requests SET name = 'other', record = json_set(record, '$.name', 'other') WHERE uid = 'u1'",
        "its name is not what was written",
    ),
    "a name removed": (
        "UPDATE requests SET name = NULL, record = json_set(record, '$.name', '') WHERE uid = 'u1'",
        "its name was removed, but its history has no event of an erasure",
    ),
    "the source changed": (
        "UPDATE requests SET source = 'o', record = json_set(record, '$.source', 'o') WHERE uid = 'u1'",
        "its name is not what was written",
    ),
    "the salt changed": ("UPDATE requests SET salt = 'x' WHERE uid = 'u1'", "its name is not what was written"),
    "the salt removed": ("UPDATE requests SET salt = NULL WHERE uid = 'u1'", "its name is not what was written"),
    "a name of bytes": (
        "UPDATE requests SET name = x'ff', record = json_set(record, '$.name', 'a') WHERE uid = 'u1'",
        "its name",
    ),
    "a label changed": ("UPDATE labels SET value = 'green' WHERE key = 'tier'", "its labels differ from its record"),
    "a label changed, also in the record": (
        """UPDATE requests SET record = json_set(record, '$.desired.labels', json('[["team","x"]]')) WHERE uid = 'u2';
        UPDATE labels SET value = 'x' WHERE uid = 'u2'""",
        "its labels are not what was written",
    ),
    "a label removed": ("DELETE FROM labels WHERE key = 'tier'", "its labels differ from its record"),
    "a label added": ("INSERT INTO labels VALUES ('tier', '9', 'u2')", "its labels differ from its record"),
    "an author changed": (
        "UPDATE provenance SET author = 'Mallory' WHERE uid = 'u1'",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "authors swapped": (
        "UPDATE provenance SET author = CASE uid WHEN 'u1' THEN 'Bob <bob@example>' ELSE 'Alice <alice@example>' END",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "a file changed": (
        "UPDATE provenance SET file = 'x' WHERE uid = 'u2'",
        "the file or the origin of its generation 1",
    ),
    "an author removed": ("DELETE FROM provenance WHERE uid = 'u2'", "the file or the origin of its generation 1"),
    "an author added": (
        "INSERT INTO provenance VALUES ('u2', 2, 'bob.yaml', 'Mallory', NULL, NULL)",
        "the file or the origin of its generation 2 is not what was written",
    ),
    "a signer changed": (
        "UPDATE provenance SET signer = 'mallory@example SHA256:AlicesKey' WHERE uid = 'u1'",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "a signer removed": ("UPDATE provenance SET signer = NULL WHERE uid = 'u1'", "the file or the origin"),
    "a signer added": (
        "UPDATE provenance SET signer = 'alice@example SHA256:AlicesKey' WHERE uid = 'u2'",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "an empty signer": ("UPDATE provenance SET signer = '' WHERE uid = 'u2'", "the file or the origin"),
    "a signer of bytes": ("UPDATE provenance SET signer = x'ff' WHERE uid = 'u1'", "origin"),
    "the commit of a file changed": (
        "UPDATE provenance SET file_commit = replace(file_commit, 'a1', 'a2') WHERE uid = 'u1'",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "signer and author exchanged": (
        "UPDATE provenance SET author = signer, signer = author WHERE uid = 'u1'",
        "the file or the origin of its generation 1 is not what was written",
    ),
    "an author put elsewhere": (
        "UPDATE provenance SET generation = 2 WHERE uid = 'u2'",
        "the file or the origin of its generation 1 is not what was written",
    ),
}


@pytest.mark.parametrize("name", NAMES)
async def test_changes_of_names_labels_and_origins_are_found(closed: Engine, name: str) -> None:
    statements, words = NAMES[name]
    if await tampered(closed, name, statements):
        assert any(words in what for what in found(closed)), found(closed)


async def test_a_certificate_is_not_made_out_to_another_name(closed: Engine) -> None:
    sql = "UPDATE requests SET name = 'victim', record = json_set(record, '$.name', 'victim') WHERE uid = 'u1'"
    await closed.change(sql)
    with open_audit(closed.settings) as audit, pytest.raises(AgentError, match="its name is not what was written"):
        certificates(audit, "victim")


COMMANDS = {
    "a sender changed": (
        "UPDATE commands SET sender = 'x' WHERE verb = 'approve'",
        "command 6: the command (appr",
    ),
    "a sender removed": ("UPDATE commands SET sender = NULL WHERE verb = 'pause'", "command 1: the command (pause of"),
    "a verb changed": ("UPDATE commands SET verb = 'resume' WHERE verb = 'pause'", "command 1: the command (resume of"),
    "a time changed": ("UPDATE commands SET at = at - 60 WHERE verb = 'page'", "command 4: the command (page of"),
    "a time of text": (
        "UPDATE commands SET at = 'x' WHERE verb = 'page'",
        "command 4: the agent never writes such a command",
    ),
    "an id changed": ("UPDATE commands SET id = 'x' WHERE verb = 'page'", "command 4: the command (page of"),
    "another request": (
        "UPDATE commands SET uid = 'u2' WHERE verb = 'show-personal'",
        "command 3: the command (sho",
    ),
    "a request added": ("UPDATE commands SET uid = 'u1' WHERE verb = 'pause'", "command 1: the command (pause of"),
    "the first removed": ("DELETE FROM commands WHERE number = 1", "command 1: the command is missing"),
    "one removed": ("DELETE FROM commands WHERE verb = 'resume'", "command 2: the command is missing"),
    "one removed, the others renumbered": (
        "DELETE FROM commands WHERE number = 2; UPDATE commands SET number = number - 1 WHERE number > 2",
        "command 2: the command (show-personal of",
    ),
    "the last removed": ("DELETE FROM commands WHERE number = 6", "command 6: the commands after 5 were removed"),
    "all removed": ("DELETE FROM commands", "command 1: the commands after 0 were removed"),
    "all removed, and the note": (
        "DELETE FROM commands; DELETE FROM meta WHERE key = 'commands'",
        "the note of the last command is missing",
    ),
    "the last removed, and the note forged": (
        """DELETE FROM commands WHERE number = 6;
        UPDATE meta SET value = replace(value, '6 ', '5 ') WHERE key = 'commands'""",
        "the note of the last command is not what was written",
    ),
    "one about a request removed, and the note set back": (
        "DELETE FROM commands; UPDATE meta SET value = '' WHERE key = 'commands'",
        "the command that the event names is missing",
    ),
    "one inserted": (
        "INSERT INTO commands (id, at, verb, answer, number, hash) VALUES ('x', 1, 'pause', '', 7, 'x')",
        "command 7: the command (pause of",
    ),
    "one whose number is a text": (
        "UPDATE commands SET number = 'x' WHERE number = 2",
        "the agent never writes such a command",
    ),
    "two swapped": (
        """UPDATE commands SET number = -number WHERE number < 3;
        UPDATE commands SET number = 3 + number WHERE number < 0""",
        "command 1: the command (resume of",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_changes_of_operator_commands_are_found(closed: Engine, name: str) -> None:
    statements, words = COMMANDS[name]
    if await tampered(closed, name, statements):
        assert any(words in what for what in found(closed)), found(closed)


async def test_commands_that_a_checkpoint_saw_are_missed_without_the_key_as_well(engine: Engine) -> None:
    """A pause adds no event, and a checkpoint all the same."""
    async with engine.opened() as store:
        await peopled(store)
        await store.checkpoint(NOW)
        await applied(store, "pause")
        (line,) = await store.checkpoint(NOW + 1)
    assert line.commands == 7
    engine.settings.key_path.unlink()
    verdict = engine.verified()
    assert verdict.findings == ()
    assert "could not be verified" in verdict.notices[0]
    await engine.change("DELETE FROM commands WHERE number = 7", "UPDATE meta SET value = '6 x' WHERE key = 'commands'")
    assert "command 7: one of the commands 7 to 7 was changed, removed, inserted or moved" in found(engine)[0]


async def test_another_key_is_reported_and_hides_nothing(closed: Engine) -> None:
    await closed.change("UPDATE provenance SET author = 'Mallory' WHERE uid = 'u1'")
    closed.settings.key_path.write_text("0" * 64 + "\n")
    assert "was written under another key" in found(closed)[0]


async def test_an_agent_that_finds_commands_gone_says_so_for_ever(engine: Engine) -> None:
    async with engine.opened() as store:
        await peopled(store)
        await store.checkpoint(NOW)
    await engine.change("DELETE FROM commands", "UPDATE meta SET value = '' WHERE key = 'commands'")
    async with engine.opened() as store:
        assert "break" in [line.kind for line in await store.checkpoint(NOW + 1)]
    assert any("truncated or changed" in what for what in found(engine))


async def test_a_restored_backup_of_before_some_commands_is_no_fault(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await peopled(store)
    await store.checkpoint(NOW)
    back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    await applied(store, "pause")
    await store.checkpoint(NOW + 1)
    store.close()
    restore(tmp_path / "kept.db", tmp_path / "agent.db")
    store = opened(tmp_path)
    await store.record_restore(NOW + 2)
    await applied(store, "resume")
    await store.checkpoint(NOW + 3)
    store.close()
    assert verified(tmp_path / "agent.db").findings == ()


async def test_a_moved_file_and_a_later_document_are_chained_as_well(engine: Engine) -> None:
    """Also where nothing that is audited changes with it."""
    async with engine.opened() as store:
        life = await committed(store, Life("u1", upload(**ALICE)))
        moved = upload(**{**ALICE, "file": "moved.yaml"})
        for document, kind in ((moved, DocumentReturned), (upload(**BOB, digest="d2", essence="e2"), DocumentChanged)):
            taken = step(life.record, kind(at=NOW + 100, desired=document, name=life.record.name), DEFAULT_POLICY)
            assert taken.events
            life.steps.append(taken)
            await store.commit([taken])
    assert dict(await engine.rows("SELECT generation, file FROM provenance")) == {1: "moved.yaml", 2: "bob.yaml"}
    assert found(engine) == []
    await engine.change("UPDATE provenance SET file = 'alice.yaml' WHERE generation = 1")
    assert "the file or the origin of its generation 1 is not what was written" in found(engine)[0]


# -- what is forgotten ---------------------------------------------------------------------------------------------


async def test_a_forgotten_name_leaves_no_salt_and_no_fault(tmp_path: Path) -> None:
    """[I6] Without the salt no guess can be held against the digests, not even with the key."""
    store = opened(tmp_path)
    await peopled(store)
    ((salt,),) = rows(tmp_path, "SELECT salt FROM requests WHERE uid = 'u1'")
    assert await store.forget("u1", NOW + 10)
    await applied(store, "forget", "u1")
    assert await store.tidy()
    for part in (salt, "name-u1", "alice", "Alice", "a1a1a1", "tier"):
        assert [path.name for path in tmp_path.iterdir() if part.encode() in path.read_bytes()] == []
    store.close()
    assert verified(tmp_path / "agent.db").findings == ()


async def test_forgotten_requests_leave_no_fault(engine: Engine) -> None:
    """[I6] Two of them, and a command about one that has no name any more."""
    async with engine.opened() as store:
        await peopled(store)
        await committed(store, Life("u3", upload(**BOB)).until(Phase.DONE))
        for uid in ("u1", "u3"):
            assert await store.forget(uid, NOW + 10)
            await applied(store, "forget", uid)
        await store.checkpoint(NOW + 11)
    assert await engine.rows("SELECT uid FROM requests WHERE name IS NULL AND salt IS NULL ORDER BY uid") == [
        ("u1",), ("u3",),
    ]  # fmt: skip
    assert found(engine) == []


async def test_a_request_that_is_back_after_it_was_forgotten_is_chained_again(engine: Engine) -> None:
    async with engine.opened() as store:
        life = await committed(store, Life("u1", upload(**ALICE)).until(Phase.DONE))
        await store.forget("u1", NOW + 10)
        record = await store.get("u1")
        assert record is not None and record.name == ""
        document = upload(**BOB, digest="d2", essence="e2")
        await store.commit([step(record, DocumentChanged(at=NOW + 20, desired=document, name="b"), DEFAULT_POLICY)])
    assert life.record.name != "b"
    assert await engine.rows("SELECT name FROM requests") == [("b",)]
    assert found(engine) == []
    await engine.change("UPDATE requests SET name = 'c', record = json_set(record, '$.name', 'c')")
    assert "its name is not what was written" in found(engine)[0]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "UPDATE requests SET name = 'x', record = json_set(record, '$.name', 'x')",
            "according to its history the name was",
        ),
        ("INSERT INTO labels VALUES ('team', 'red', 'u1')", "its labels differ from its record"),
        ("INSERT INTO provenance VALUES ('u1', 1, 'a', 'b', 'c', 'd')", "erased, but labels, an origin or the salt"),
    ],
)
async def test_a_name_that_was_put_to_a_forgotten_request_is_found(engine: Engine, statement: str, words: str) -> None:
    async with engine.opened() as store:
        await committed(store, Life("u1", upload(**ALICE)).until(Phase.DONE))
        await store.forget("u1", NOW + 10)
    await engine.change(statement)
    assert words in found(engine)[0]


async def test_the_checkpoints_of_commands_are_chained(engine: Engine) -> None:
    async with engine.opened() as store:
        await peopled(store)
        await store.checkpoint(NOW)
    path = checkpoint_path(engine.settings.local_path)
    (line,) = lines(path)
    assert line.commands == 6
    path.write_text(path.read_text().replace('"commands":6', '"commands":5'))
    assert "checkpoint 1 is not what was written" in str(found(engine))
