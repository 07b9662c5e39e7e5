"""The key: what a uid follows from, and nothing else does."""

from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged
from agent.store.identity_key import Keys

from .support import opened


def test_a_uid_is_the_same_when_the_store_is_lost_and_the_key_is_not(tmp_path: Path) -> None:
    """[I3]"""
    first = opened(tmp_path)
    uid = first.keys.uid("default", "customer-1")
    first.close()
    (tmp_path / "agent.db").unlink()
    second = opened(tmp_path)
    assert second.keys.uid("default", "customer-1") == uid
    assert second.keys.uid("defaultc", "ustomer-1") != uid
    second.close()


def test_a_key_says_nothing_of_itself_and_of_names(tmp_path: Path) -> None:
    """[I6]"""
    keys = Keys(b"k" * 32)
    assert repr(keys) == "Keys(...)"
    assert "customer" not in keys.uid("default", "customer")
    assert keys.digest(b"a") != keys.digest(b"b")
    assert keys.digest(b"a") != Keys(b"l" * 32).digest(b"a")


@pytest.mark.parametrize("content", ["", "not hex", "ab" * 31])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "agent.key").write_text(content)
    with pytest.raises(StoreDamaged):
        opened(tmp_path)
    (tmp_path / "agent.key").unlink()
    opened(tmp_path).close()
