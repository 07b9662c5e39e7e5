"""The vault: what it seals only it can open, and what it destroyed nobody can."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.effect import ClaimsRequest
from agent.core.errors import AgentError
from agent.core.observations import EncryptedClaims
from agent.ports import ClaimsEncryptionError, MetaKey
from agent.store.claims_keyring import ClaimsKeyring
from agent.store.stored_claims import StoredClaims
from verification.builders.lives import Life
from verification.builders.records import NOW, upload

from .support import opened

KEY = "a claims key of the tests, long enough for it"
CLAIMS = b'{"finalResult":{"firstName":"Jane"}}'


@pytest.fixture
def vault(tmp_path: Path) -> ClaimsKeyring:
    return ClaimsKeyring(tmp_path / "keys", KEY)


def sealed(vault: ClaimsKeyring, uid: str = "u1", ttl: float = 3600.0, committed: bool = True) -> StoredClaims:
    one = vault.encrypt(ClaimsRequest(uid=uid, generation=1, ttl=ttl), CLAIMS, NOW)
    if committed:
        vault.committed(one)
    return StoredClaims(uid=uid, generation=1, encrypted=one)


def test_a_secret_that_is_sealed_is_opened_by_a_holder_of_key_and_folder(vault: ClaimsKeyring, tmp_path: Path) -> None:
    one = sealed(vault)
    assert vault.open(one) == ClaimsKeyring(tmp_path / "keys", KEY).open(one) == CLAIMS
    assert b"Jane" not in one.encrypted.wrapped_key + one.encrypted.ciphertext
    assert b"Jane".hex() not in repr(one)
    assert "ciphertext" not in repr(one)


def test_the_same_claims_twice_have_nothing_in_common(vault: ClaimsKeyring) -> None:
    first, second = sealed(vault), sealed(vault)
    assert first.encrypted.key_id == second.encrypted.key_id
    assert first.encrypted.ciphertext != second.encrypted.ciphertext
    assert first.encrypted.wrapped_key != second.encrypted.wrapped_key


@pytest.mark.parametrize("what", ["another request", "a later time", "ciphertext", "wrapped", "cut"])
def test_a_secret_that_was_moved_or_changed_is_refused(vault: ClaimsKeyring, what: str) -> None:
    """A row cannot be shown as somebody else's, nor for longer than it was meant."""
    one, other = sealed(vault), sealed(vault, "u2")
    spoiled = {
        "another request": replace(one, uid="u2"),
        "a later time": replace(one, encrypted=replace(one.encrypted, expires_at=one.encrypted.expires_at + 1)),
        "ciphertext": replace(one, encrypted=replace(one.encrypted, ciphertext=other.encrypted.ciphertext)),
        "wrapped": replace(one, encrypted=replace(one.encrypted, wrapped_key=other.encrypted.wrapped_key)),
        "cut": replace(one, encrypted=replace(one.encrypted, ciphertext=b"short")),
    }[what]
    with pytest.raises(AgentError, match="not what was written"):
        vault.open(spoiled)


def test_without_the_key_or_the_folder_it_says_what_is_missing(vault: ClaimsKeyring, tmp_path: Path) -> None:
    one = sealed(vault)
    for other, message in (
        (ClaimsKeyring(tmp_path / "keys", ""), "CLAIMS_KEY is not set"),
        (ClaimsKeyring(tmp_path / "keys", KEY + "x"), "another CLAIMS_KEY"),
        (ClaimsKeyring(tmp_path / "elsewhere", KEY), "is gone"),
    ):
        with pytest.raises(AgentError, match=message) as error:
            other.open(one)
        assert error.value.hint


def test_it_seals_nothing_without_a_key_or_a_place_for_keys(tmp_path: Path) -> None:
    with pytest.raises(ClaimsEncryptionError, match="no-key"):
        sealed(ClaimsKeyring(tmp_path / "keys", ""))
    (tmp_path / "file").write_text("")
    with pytest.raises(ClaimsEncryptionError, match="disk"):
        sealed(ClaimsKeyring(tmp_path / "file" / "keys", KEY))
    assert not (tmp_path / "keys").exists()


def test_a_destroyed_key_is_overwritten_before_its_name_is_gone(vault: ClaimsKeyring, tmp_path: Path) -> None:
    """Somebody who kept the file itself (a hard link, an undelete) has noise."""
    one = sealed(vault)
    path = tmp_path / "keys" / f"{one.encrypted.key_id}.key"
    content, held = path.read_bytes(), tmp_path / "held.key"
    held.hardlink_to(path)
    vault.destroy(one.encrypted.key_id)
    vault.destroy(one.encrypted.key_id)  # gone already
    assert not path.exists()
    assert len(held.read_bytes()) == len(content)
    assert held.read_bytes() != content
    with pytest.raises(AgentError, match="is gone"):
        vault.open(one)
    path.write_bytes(held.read_bytes())
    with pytest.raises(AgentError):
        ClaimsKeyring(tmp_path / "keys", KEY).open(one)


def test_a_key_with_a_seal_that_is_not_in_the_database_yet_is_not_retired(vault: ClaimsKeyring) -> None:
    one = sealed(vault, committed=False)
    assert not vault.retire(one.encrypted.key_id)
    vault.committed(one.encrypted)
    assert vault.retire(one.encrypted.key_id)


def test_a_retired_key_seals_nothing_more_and_its_claims_move_to_another(vault: ClaimsKeyring) -> None:
    one = sealed(vault)
    assert vault.retire(one.encrypted.key_id)
    moved = vault.rewrap(one)
    assert moved is not None
    assert moved.key_id != one.encrypted.key_id
    assert moved.key_id[:10] == one.encrypted.key_id[:10]
    assert sealed(vault).encrypted.key_id == moved.key_id
    vault.destroy(one.encrypted.key_id)
    assert vault.open(replace(one, encrypted=moved)) == CLAIMS
    assert ClaimsKeyring(vault._folder, KEY + "x").rewrap(replace(one, encrypted=moved)) is None


def test_a_key_that_was_not_written_whole_or_vanished_is_replaced(vault: ClaimsKeyring, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    day = sealed(ClaimsKeyring(tmp_path / "other", KEY)).encrypted.key_id[:10]
    (tmp_path / "keys" / f"{day}-00000000.key").write_bytes(b"half")
    one = sealed(vault)
    assert one.encrypted.key_id != f"{day}-00000000"
    (tmp_path / "keys" / f"{one.encrypted.key_id}.key").unlink()
    assert vault.open(sealed(vault)) == CLAIMS


def test_threads_share_one_key_of_a_day(vault: ClaimsKeyring, tmp_path: Path) -> None:
    threads = [threading.Thread(target=sealed, args=(vault, f"u{n}")) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "keys").iterdir())) == 1
    assert vault.retire(next((tmp_path / "keys").iterdir()).stem)


# -- the table --------------------------------------------------------------------------------------------------------


async def accepted(store, uid: str, ttl: float = 3600.0) -> EncryptedClaims:  # type: ignore[no-untyped-def]
    """A request with claims, committed."""
    from agent.core.assure_types import ProcessReading, Status
    from agent.core.observations import ProcessRead, TimerFired
    from agent.core.record import Phase

    life = Life(uid, upload(claims_ttl=ttl)).until(Phase.RESULT)
    one: EncryptedClaims = store.claims.keyring.encrypt(ClaimsRequest(uid=uid, generation=1, ttl=ttl), CLAIMS, NOW)
    life.at = max(life.at, life.record.due_at or 0.0)
    life.sees(TimerFired)
    life.sees(ProcessRead, reading=ProcessReading(process_id=f"P-{uid}", status=Status.ACCEPTED), encrypted_claims=one)
    for step in life.steps:
        await store.commit([step])
    return one


async def test_a_seal_under_way_keeps_its_day_open_until_it_is_committed(tmp_path: Path) -> None:
    """Otherwise a claim would be written whose key is gone, and its dossier deleted."""
    store = opened(tmp_path, claims_key=KEY)
    await accepted(store, "u1", ttl=60)
    under_way = store.claims.keyring.encrypt(ClaimsRequest(uid="u2", generation=1, ttl=61), CLAIMS, NOW)
    expired = await store.claims.expired(NOW + 60)
    assert [one.uid for one in expired] == ["u1"]
    assert await store.claims.make_unreadable(expired) == []
    store.claims.keyring.committed(under_way)
    assert await store.claims.make_unreadable(expired) == expired
    store.close()


async def test_without_the_claims_key_the_key_of_the_day_goes_with_its_last(tmp_path: Path) -> None:
    store = opened(tmp_path, claims_key=KEY)
    await accepted(store, "u1", ttl=60)
    await accepted(store, "u2", ttl=120)
    store.close()
    store = opened(tmp_path)
    keys = tmp_path / "keys"
    for now, left in ((NOW + 60, 1), (NOW + 120, 0)):
        expired = await store.claims.expired(now)
        assert len(expired) == 1
        await store.claims.erase(await store.claims.make_unreadable(expired))
        assert len(list(keys.iterdir())) == left
    assert (await store.claims.of("u1")) == (await store.claims.of("u2")) == []
    store.close()


async def test_keys_that_no_row_names_wait_until_their_day_is_over(tmp_path: Path) -> None:
    """A lost database may be restored: until then its keys are kept; and a key that a row names is always."""
    store = opened(tmp_path, claims_key=KEY)
    await accepted(store, "u1", ttl=86400.0)
    unnamed = store.claims.keyring.encrypt(ClaimsRequest(uid="u2", generation=1, ttl=60), CLAIMS, NOW)
    store.claims.keyring.committed(unnamed)
    keys = tmp_path / "keys"
    (await store.claims.sweep(NOW))
    assert len(list(keys.iterdir())) == 2
    (await store.claims.sweep(NOW + 86400.0))
    assert [path.stem for path in keys.iterdir()] == [(await store.claims.of("u1"))[0].encrypted.key_id]
    (await store.claims.sweep(NOW + 10 * 86400.0))
    assert len(list(keys.iterdir())) == 1
    store.close()


async def test_the_log_is_truncated_once_nobody_reads_it(tmp_path: Path) -> None:
    from .support import raw

    store = opened(tmp_path, claims_key=KEY)
    await accepted(store, "u1", ttl=60)
    wal = tmp_path / "agent.db-wal"
    reader = raw(tmp_path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM claims").fetchone()
    await store.claims.erase(await store.claims.make_unreadable(await store.claims.expired(NOW + 60)))
    assert wal.stat().st_size > 0
    await store.remember(MetaKey.CIRCUIT, "commits go on")
    reader.execute("COMMIT")
    reader.close()
    await store.claims.tidy()
    assert wal.stat().st_size == 0
    store.close()
