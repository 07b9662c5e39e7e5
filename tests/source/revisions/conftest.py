"""Keys for signed commits, made once."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.signing import SignedRepository, certified, gpg_home, gpg_key, ssh_key


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """ssh keys. Those of carol and dora have certificates by `authority`; that of dora has expired."""
    folder = tmp_path_factory.mktemp("ssh")
    keys = {name: ssh_key(folder, name) for name in ("alice", "bob", "other", "expired", "revoked", "authority")}
    keys["carol"] = certified(folder, "carol", "authority", "carol@example.com")
    keys["dora"] = certified(folder, "dora", "authority", "dora@example.com", "-V", "20200101:20210101")
    return SimpleNamespace(**keys, folder=folder)


@pytest.fixture(scope="module")
def pgp() -> Iterator[SimpleNamespace]:
    """OpenPGP keys: alice, bob, other, and two that the test lets expire or revokes."""
    with gpg_home() as home:
        names = ("alice", "bob", "other", "expired", "revoked")
        keys = {name: gpg_key(home, f"{name.title()} <{name}@example.com>") for name in names}
        yield SimpleNamespace(**keys, home=home)


@pytest.fixture
def signed(tmp_path: Path) -> SignedRepository:
    """A repository without a commit."""
    return SignedRepository(tmp_path)
