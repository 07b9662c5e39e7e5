"""Who asked for a generation: proven while the words exist, and beyond any proof once they are forgotten [I5, I6]."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.core.errors import AgentError
from agent.core.record import Desired, Origin, Phase
from agent.core.source_revision import Revision
from agent.store.audit.certificate import SignedGeneration
from agent.store.audit.export import verifier
from agent.store.audit.query_library import SHIPPED, library
from agent.store.digests import RequestDigests
from agent.store.identity_key import Keys
from agent.store.sqlite.audit_queries import SqliteQueries
from agent.store.sqlite.backup import back_up, restore
from tests.support.stores import at_once
from verification.audits import certificates, export_lines, verified
from verification.builders.lives import Life
from verification.builders.records import NOW, ORIGIN, upload

from .support import changed, committed, opened, rows

WHO_ASKED = library(SHIPPED)["who-asked"]
WORDS = [str(word) for word in (ORIGIN.author, ORIGIN.file_commit, ORIGIN.signer)]
UNSIGNED = Origin(author="Bob")


def asked(desired: str, origin: Origin | None) -> Desired:
    return upload(digest=desired, essence=desired, file="a.yaml", origin=origin)


def who_asked(folder: Path) -> list[dict[str, object]]:
    with SqliteQueries(folder / "agent.db").run(WHO_ASKED.sql, {"name": "", "since": "", "until": ""}) as answer:
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def places(folder: Path, word: str) -> list[str]:
    """The tables that contain it."""
    tables = [name for (name,) in rows(folder, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [name for name in tables if word in str(rows(folder, f"SELECT * FROM {name}"))]


async def test_who_asked_names_the_signer_and_the_commit(tmp_path: Path) -> None:
    """[I5]"""
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.DONE))
    await committed(store, Life("u2", asked("d2", UNSIGNED)).until(Phase.DONE))
    await committed(store, Life("u3", asked("d3", None)).until(Phase.DONE))
    store.close()
    assert {row["uid"]: (row["signed_by"], row["file_commit"], row["author"]) for row in who_asked(tmp_path)} == {
        "u1": (ORIGIN.signer, ORIGIN.file_commit, ORIGIN.author),
        "u2": (None, None, "Bob"),
        "u3": (None, None, None),
    }


async def test_a_signer_without_an_author_is_recorded(tmp_path: Path) -> None:
    """A history can be too long for the agent to find the author in time."""
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", Origin(file_commit="ab" * 20, signer="s"))).until(Phase.DONE))
    store.close()
    assert rows(tmp_path, "SELECT author, file_commit, signer FROM provenance") == [(None, "ab" * 20, "s")]
    assert verified(tmp_path / "agent.db").findings == ()


async def test_the_words_are_in_one_table_and_their_digest_in_an_event(tmp_path: Path) -> None:
    """[I6]"""
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.RESULT))
    store.close()
    assert [places(tmp_path, word) for word in WORDS] == [["provenance"]] * 3
    ((first,),) = rows(tmp_path, "SELECT changes FROM events WHERE seq = 1")
    ((salt,),) = rows(tmp_path, "SELECT salt FROM requests")
    keys = Keys.existing(tmp_path / "agent.db")
    assert keys is not None
    digest = RequestDigests(keys, "u1", salt).origin(1, "a.yaml", ORIGIN)
    assert orjson.loads(first)["originDigests"] == {"1": digest}


async def test_forgotten_words_leave_every_file_and_their_digest_can_be_tested_no_more(tmp_path: Path) -> None:
    """[I6] Not even by the holder of the key: the salt is gone."""
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.DONE))
    ((salt,),) = rows(tmp_path, "SELECT salt FROM requests")
    assert await store.forget("u1", NOW + 10)
    await store.checkpoint(NOW + 11)
    for word in (*WORDS, salt):
        assert [path.name for path in tmp_path.iterdir() if word.encode() in path.read_bytes()] == []
    store.close()
    (row,) = who_asked(tmp_path)
    assert (row["name"], row["signed_by"], row["file_commit"], row["author"]) == (None, None, None, None)
    assert verified(tmp_path / "agent.db").findings == ()
    (made,) = certificates(tmp_path / "agent.db", "u1")
    assert made.signed == ()


async def test_the_certificate_names_the_signers_as_long_as_they_are_proven(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.DONE))
    await committed(store, Life("u2", asked("d2", UNSIGNED)).until(Phase.DONE))
    store.close()
    (signed,), (unsigned,) = (certificates(tmp_path / "agent.db", uid) for uid in ("u1", "u2"))
    assert signed.signed == (
        SignedGeneration(generation=1, file_commit=str(ORIGIN.file_commit), signer=str(ORIGIN.signer)),
    )
    assert unsigned.signed == ()
    changed(tmp_path, "UPDATE provenance SET signer = 'mallory@example SHA256:MalsKey' WHERE uid = 'u1'")
    with pytest.raises(AgentError, match="the file or the origin of its generation 1 is not what was written"):
        certificates(tmp_path / "agent.db", "u1")


async def test_an_export_has_the_digest_and_no_word_and_is_valid(tmp_path: Path) -> None:
    """[I5, I6]"""
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.DONE))
    await store.checkpoint(NOW)
    store.close()
    lines = list(export_lines(tmp_path / "agent.db", NOW))
    assert any("originDigests" in str(line.get("changes")) for line in lines)
    assert not [word for word in WORDS if word in str(lines)]
    file, script = tmp_path / "history.jsonl", tmp_path / "verify.py"
    script.write_text(verifier())
    command = [sys.executable, "-I", str(script), str(file)]
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (digest,) = {
        digest
        for line in lines
        if "originDigests" in str(line.get("changes"))
        for digest in orjson.loads(line["changes"])["originDigests"].values()
    }
    file.write_bytes(file.read_bytes().replace(digest.encode(), b"0" * len(digest)))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


async def test_a_restored_backup_has_the_signer_and_acts_on_the_older_revision(tmp_path: Path) -> None:
    older, newer = (Revision(commit=digit * 40, committed_at=NOW) for digit in "ab")
    store = opened(tmp_path)
    await committed(store, Life("u1", asked("d1", ORIGIN)).until(Phase.DONE))
    await store.record_scan("default", NOW, 1, True, 0, None, revision=older)
    back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    await store.record_scan("default", NOW + 1, 1, True, 0, None, revision=newer)
    store.close()
    restore(tmp_path / "kept.db", tmp_path / "agent.db")
    store = opened(tmp_path)
    assert at_once(store.revision_state("default")).acted == older
    store.close()
    assert [row["signed_by"] for row in who_asked(tmp_path)] == [ORIGIN.signer]


WORD = st.none() | st.text(max_size=3)
ORIGINS = st.builds(Origin, author=WORD, file_commit=WORD, signer=WORD)


@given(ORIGINS, ORIGINS)
def test_different_origins_have_different_digests(one: Origin, other: Origin) -> None:
    """No word can move from one field to another, and none is the same as an empty one."""
    assume(one != other)
    sealer = RequestDigests(Keys(b"k" * 32), "u1", "salt")
    assert sealer.origin(1, "a.yaml", one) != sealer.origin(1, "a.yaml", other)
    assert sealer.origin(1, "a.yaml", one) == sealer.origin(1, "a.yaml", one)
