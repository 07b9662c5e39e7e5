"""What `restore` set aside keeps no secret, and forgets with the store [I6]."""

from pathlib import Path

from agent.core.record import Phase
from agent.store.identity_key import Keys
from agent.store.sqlite.backup import back_up, restore
from agent.store.sqlite.replaced_files import erase_links, forget_in, replaced
from verification.builders.lives import LINK, Life
from verification.builders.records import NOW, capture, upload

from .support import committed, opened, raw


async def set_aside(folder: Path) -> Path:
    """A store with a done request and an open link, replaced by its backup."""
    store = opened(folder)
    await committed(store, Life("u1", name="jane-doe", desired=upload(labels=(("team", "zebra77"),))).until(Phase.DONE))
    await committed(store, Life("u2", desired=capture()).until(Phase.RESULT))
    store.close()
    made = back_up(folder / "agent.db", folder / "kept.db")
    _, kept = restore(made.path, folder / "agent.db")
    assert kept is not None
    return kept


async def test_no_capture_link_is_left_in_it(tmp_path: Path) -> None:
    kept = await set_aside(tmp_path)
    assert LINK.encode() in kept.read_bytes()
    assert erase_links(kept)
    assert LINK.encode() not in kept.read_bytes()
    assert not list(tmp_path.glob("replaced-*-wal"))


async def test_a_name_that_is_forgotten_is_forgotten_in_what_restore_set_aside(tmp_path: Path) -> None:
    kept = await set_aside(tmp_path)
    assert b"jane-doe" in kept.read_bytes()
    store = opened(tmp_path)
    assert await store.forget_in_replaced("u1", NOW) == []
    store.close()
    assert b"jane-doe" not in kept.read_bytes()
    assert b"zebra77" not in kept.read_bytes()
    aside = raw(tmp_path).__class__(kept)
    assert aside.execute("SELECT uid, name IS NULL FROM requests ORDER BY uid").fetchall() == [("u1", 1), ("u2", 0)]
    assert aside.execute("SELECT count(*) FROM events WHERE uid = 'u1'").fetchone()[0] > 5
    aside.close()


async def test_a_file_that_cannot_be_changed_is_named(tmp_path: Path) -> None:
    kept = await set_aside(tmp_path)
    with kept.open("r+b") as file:
        file.truncate(5000)
    assert forget_in(tmp_path / "agent.db", Keys.load_or_create(tmp_path / "agent.db"), "u1", NOW) == [kept]
    assert not erase_links(kept)
    assert replaced(tmp_path / "agent.db") == [kept]
