"""Signatures of commits, made and verified by the real programs."""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.core.source_revision import RevisionRefusal
from agent.source.revisions import signatures as module
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.signatures import Signature, SignatureVerifier
from tests.support.signing import Key, SignedRepository, expire, gpg, gpg_key, revoke, run

EXPIRED = RevisionRefusal.EXPIRED_KEY
UNKNOWN = RevisionRefusal.UNKNOWN_SIGNER
BAD = RevisionRefusal.BAD_SIGNATURE
UNVERIFIED = RevisionRefusal.UNVERIFIED


class Files:
    """The files of signers, and a verifier with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.allowed, self.revoked, self.keyring = (folder / name for name in ("allowed", "revoked", "keys.asc"))

    def verifier(self, mirror: Mirror) -> SignatureVerifier:
        paths = [path if path.exists() else None for path in (self.allowed, self.revoked, self.keyring)]
        return SignatureVerifier(mirror, *paths, self.folder / "own")

    def copies(self) -> list[Path]:
        """The folders of copies."""
        return list((self.folder / "own").iterdir())

    def allow(self, *lines: str) -> None:
        """Replace the allowed-signers file."""
        new = self.folder / "new"
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.allowed)

    def export(self, *keys: Key, armor: bool = True) -> None:
        """Replace the keyring."""
        home = keys[0].home
        assert home is not None
        new = self.folder / "new"
        new.unlink(missing_ok=True)
        gpg(home, *(["--armor"] if armor else []), "--output", str(new), "--export", *(one.fingerprint for one in keys))
        new.replace(self.keyring)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "signers")


def one(verifier: SignatureVerifier, commit: str) -> str | RevisionRefusal | None:
    """The signer of a commit, or the refusal."""
    signature = verifier.verify([commit])[commit]
    assert (signature.signer is None) == (signature.refusal is not None)
    return signature.refusal or signature.signer


def test_ssh_signatures(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    good = signed.commit(ssh.alice)
    wrong = signed.commit(ssh.other)
    revoked = signed.commit(ssh.bob)
    unsigned = signed.commit()
    forged = signed.forged(signed.commit(ssh.alice), "a change", "another change")
    files.allow(f"alice@example.com {ssh.alice.public}", "# a comment", "", f"bob@example.com {ssh.bob.public}")
    files.revoked.write_text(f"{ssh.bob.public}\n")
    verifier = files.verifier(signed.pushed())
    assert verifier.verify([good, wrong, revoked, unsigned, forged]) == {
        good: Signature(f"alice@example.com {ssh.alice.fingerprint}", None),
        wrong: Signature(None, UNKNOWN),
        revoked: Signature(None, RevisionRefusal.REVOKED_KEY),
        unsigned: Signature(None, RevisionRefusal.UNSIGNED),
        forged: Signature(None, BAD),
    }


def test_an_ssh_key_counts_at_its_times_only(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    early, between, late = (signed.commit(ssh.alice, at=f"{year}-06-01T00:00:00Z") for year in (2019, 2020, 2021))
    files.allow(f'alice@example.com valid-after="20200101Z",valid-before="20210101Z" {ssh.alice.public}')
    verifier = files.verifier(signed.pushed())
    assert one(verifier, between) == f"alice@example.com {ssh.alice.fingerprint}"
    assert [one(verifier, commit) for commit in (early, late)] == [EXPIRED, EXPIRED]


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ('namespaces="file"', False),
        ('namespaces="file,git"', True),
        ('namespaces="file",valid-before="20200101"', False),
        ("cert-authority", False),  # the key itself must not sign
    ],
)
def test_namespaces(signed: SignedRepository, files: Files, ssh: SimpleNamespace, options: str, accepted: bool) -> None:
    commit = signed.commit(ssh.alice)
    files.allow(f"alice@example.com {options} {ssh.alice.public}")
    expected = f"alice@example.com {ssh.alice.fingerprint}" if accepted else UNKNOWN
    assert one(files.verifier(signed.pushed()), commit) == expected


def test_certificates(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    good, expired = signed.commit(ssh.carol), signed.commit(ssh.dora)
    files.allow(f"*@example.com cert-authority {ssh.authority.public}")
    verifier = files.verifier(signed.pushed())
    assert one(verifier, good) == f"carol@example.com {ssh.carol.fingerprint}"
    assert one(verifier, expired) == UNKNOWN
    files.allow(f"*@example.org cert-authority {ssh.authority.public}")
    assert one(verifier, good) == UNKNOWN


def test_a_revocation_list_in_binary_form(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    commit = signed.commit(ssh.bob)
    files.allow(f"bob@example.com {ssh.bob.public}")
    run("ssh-keygen", "-q", "-k", "-f", str(files.revoked), str(ssh.folder / "bob.pub"))
    assert one(files.verifier(signed.pushed()), commit) == RevisionRefusal.REVOKED_KEY


def test_a_line_with_a_mistake_allows_no_key(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    commits = [signed.commit(ssh.alice), signed.commit(ssh.bob)]
    files.allow(
        "garbage", f'alice@example.com valid-before="x" {ssh.alice.public}', f"bob@example.com {ssh.bob.public}"
    )
    verifier = files.verifier(signed.pushed())
    assert [one(verifier, commit) for commit in commits] == [EXPIRED, f"bob@example.com {ssh.bob.fingerprint}"]


def test_a_revoked_key_that_is_not_allowed_either(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    commit = signed.commit(ssh.bob)
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.revoked.write_text(f"{ssh.bob.public}\n")
    assert one(files.verifier(signed.pushed()), commit) == RevisionRefusal.REVOKED_KEY


def test_openpgp_signatures(signed: SignedRepository, files: Files, pgp: SimpleNamespace) -> None:
    good, wrong, unsigned = signed.commit(pgp.alice), signed.commit(pgp.other), signed.commit()
    expired, revoked = signed.commit(pgp.expired), signed.commit(pgp.revoked)
    forged = signed.forged(signed.commit(pgp.alice), "a change", "another change")
    expire(pgp.expired)
    revoke(pgp.revoked)
    files.export(pgp.alice, pgp.expired, pgp.revoked)
    found = files.verifier(signed.pushed()).verify([good, wrong, unsigned, expired, revoked, forged])
    assert found == {
        good: Signature(f"Alice <alice@example.com> {pgp.alice.fingerprint}", None),
        wrong: Signature(None, UNKNOWN),
        unsigned: Signature(None, RevisionRefusal.UNSIGNED),
        expired: Signature(None, EXPIRED),
        revoked: Signature(None, RevisionRefusal.REVOKED_KEY),
        forged: Signature(None, BAD),
    }


def test_no_agent_of_gpg_is_left(signed: SignedRepository, files: Files, pgp: SimpleNamespace) -> None:
    commit = signed.commit(pgp.alice)
    files.export(pgp.alice, armor=False)
    assert one(files.verifier(signed.pushed()), commit) == f"Alice <alice@example.com> {pgp.alice.fingerprint}"
    homes = [
        variable
        for process in Path("/proc").glob("[0-9]*")
        for variable in readable(process / "environ").split(b"\0")
        if str(files.folder).encode() in variable
    ]
    assert homes == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in (files.folder / "own", *files.copies())} == {0o700}
    assert not list((files.folder / "own").rglob("S.*"))


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_two_processes_use_copies_of_their_own(
    signed: SignedRepository, files: Files, ssh: SimpleNamespace, tmp_path: Path
) -> None:
    """`doctor` runs next to the agent. If the copy of the revoked keys disappeared, all of them would be allowed."""
    commit = signed.commit(ssh.bob)
    files.allow(f"bob@example.com {ssh.bob.public}")
    run("ssh-keygen", "-q", "-k", "-f", str(files.revoked), str(ssh.folder / "bob.pub"))
    mirror = signed.pushed()
    ended = files.folder / "own/used-by-a-process-that-ended"
    ended.mkdir(parents=True)
    one_verifier, two_verifier = files.verifier(mirror), files.verifier(mirror)
    for verifier in (one_verifier, two_verifier):
        assert verifier.problem() is None
    assert len(files.copies()) == 2
    assert not ended.exists()
    files.allow(f"bob@example.com {ssh.bob.public}", "# changed")
    for verifier in (one_verifier, two_verifier):
        assert one(verifier, commit) == RevisionRefusal.REVOKED_KEY
    assert len(files.copies()) == 2


def test_both_kinds_are_allowed_together(
    signed: SignedRepository, files: Files, ssh: SimpleNamespace, pgp: SimpleNamespace
) -> None:
    by_ssh, by_gpg = signed.commit(ssh.alice), signed.commit(pgp.alice)
    mirror = signed.pushed()
    files.allow(f"alice@example.com {ssh.alice.public}")
    assert [one(files.verifier(mirror), commit) for commit in (by_ssh, by_gpg)] == [
        f"alice@example.com {ssh.alice.fingerprint}",
        UNKNOWN,
    ]
    files.export(pgp.alice)
    assert one(files.verifier(mirror), by_gpg) == f"Alice <alice@example.com> {pgp.alice.fingerprint}"


def test_files_that_are_replaced_count_at_once(
    signed: SignedRepository, files: Files, ssh: SimpleNamespace, pgp: SimpleNamespace
) -> None:
    by_alice, by_gpg = signed.commit(ssh.alice), signed.commit(pgp.alice)
    files.allow(f"bob@example.com {ssh.bob.public}")
    files.export(pgp.bob)
    verifier = files.verifier(signed.pushed())
    assert [one(verifier, commit) for commit in (by_alice, by_gpg)] == [UNKNOWN, UNKNOWN]
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.export(pgp.alice, pgp.bob)
    assert one(verifier, by_alice) == f"alice@example.com {ssh.alice.fingerprint}"
    assert one(verifier, by_gpg) == f"Alice <alice@example.com> {pgp.alice.fingerprint}"
    files.export(pgp.bob)  # a key that was removed from the file does not stay
    files.allow(f"bob@example.com {ssh.bob.public}")
    assert [one(verifier, commit) for commit in (by_alice, by_gpg)] == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    ("which", "wrong"),
    [
        *((which, wrong) for which in ("allowed", "revoked", "keyring") for wrong in ("missing", "writable", "link")),
        ("keyring", "garbage"),
        ("revoked", "garbage"),
        (
            "revoked",
            "alice@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0PNC/GXvRjq6Uo4MGMgVrASmpgPaCjhEpHOhNhFPmf",
        ),
        ("revoked", "# a comment\nssh-ed25519 AAAA"),
    ],
)
def test_a_file_that_cannot_be_trusted_verifies_nothing(
    signed: SignedRepository, files: Files, ssh: SimpleNamespace, pgp: SimpleNamespace, which: str, wrong: str
) -> None:
    commit = signed.commit(ssh.alice)
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.revoked.write_text(f"{ssh.bob.public}\n")
    files.export(pgp.alice)
    verifier = files.verifier(signed.pushed())
    assert verifier.problem() is None
    assert one(verifier, commit) == f"alice@example.com {ssh.alice.fingerprint}"
    path: Path = getattr(files, which)
    if wrong == "missing":
        path.unlink()
    elif wrong == "writable":
        path.chmod(0o666)
    elif wrong == "link":
        os.link(path, files.folder / "second")
    else:
        path.write_text(wrong)
    problem = verifier.problem()
    assert problem is not None
    assert str(path) in str(problem)
    assert problem.hint
    assert one(verifier, commit) == UNVERIFIED


def test_a_program_that_is_missing_verifies_nothing(
    signed: SignedRepository, files: Files, ssh: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = signed.commit(ssh.alice)
    files.allow(f"alice@example.com {ssh.alice.public}")
    verifier = files.verifier(signed.pushed())
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(git)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path / "bin"))
        problem = verifier.problem()
        assert problem is not None
        assert "ssh-keygen is missing" in str(problem)
        assert one(verifier, commit) == UNVERIFIED
    assert one(verifier, commit) == f"alice@example.com {ssh.alice.fingerprint}"


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        ("gpgsig garbage", BAD),
        ("gpgsig -----BEGIN SSH SIGNATURE-----\n garbage\n -----END SSH SIGNATURE-----", BAD),
        ("gpgsig -----BEGIN PGP SIGNATURE-----\n garbage\n -----END PGP SIGNATURE-----", UNVERIFIED),
        ("gpgsig -----BEGIN PGP MESSAGE-----\n garbage\n -----END PGP MESSAGE-----", UNKNOWN),
        ("gpgsig -----BEGIN SIGNED MESSAGE-----\n garbage\n -----END SIGNED MESSAGE-----", UNKNOWN),
        ("gpgsig -----BEGIN SSH SIGNATURE-----x", UNKNOWN),
        ("gpgsig -----BEGIN SSH SIGNATURE-----\n " + "A" * 70_000, BAD),
        ("gpgsig-sha256 -----BEGIN SSH SIGNATURE-----", RevisionRefusal.UNSIGNED),
    ],
)
def test_a_hostile_signature_is_refused_and_harms_no_other_commit(
    signed: SignedRepository,
    files: Files,
    ssh: SimpleNamespace,
    pgp: SimpleNamespace,
    header: str,
    refusal: RevisionRefusal,
) -> None:
    good = [signed.commit(ssh.alice) for _ in range(2)]
    hostile = signed.forged(signed.commit(), "\n\n", f"\n{header}\n\n")
    good.append(signed.commit(ssh.alice))
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.export(pgp.alice)
    found = files.verifier(signed.pushed()).verify([good[0], hostile, *good[1:]])
    assert found[hostile].refusal == refusal
    assert {found[commit].signer for commit in good} == {f"alice@example.com {ssh.alice.fingerprint}"}


def test_a_repository_with_sha256(tmp_path: Path, files: Files, ssh: SimpleNamespace, pgp: SimpleNamespace) -> None:
    signed = SignedRepository(tmp_path, form="sha256")
    by_ssh, by_gpg, unsigned = signed.commit(ssh.alice), signed.commit(pgp.alice), signed.commit()
    forged = signed.forged(signed.commit(ssh.alice), "gpgsig-sha256 ", "gpgsig ")
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.export(pgp.alice)
    assert files.verifier(signed.pushed()).verify([by_ssh, by_gpg, unsigned, forged]) == {
        by_ssh: Signature(f"alice@example.com {ssh.alice.fingerprint}", None),
        by_gpg: Signature(f"Alice <alice@example.com> {pgp.alice.fingerprint}", None),
        unsigned: Signature(None, RevisionRefusal.UNSIGNED),
        forged: Signature(None, RevisionRefusal.UNSIGNED),
    }


def test_two_signatures_in_one_commit_are_refused(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    commit = signed.commit(ssh.alice)
    raw = signed.git("cat-file", "commit", commit)
    signature = raw[raw.index("gpgsig ") : raw.index("\n\n")]
    files.allow(f"alice@example.com {ssh.alice.public}")
    twice = signed.forged(commit, signature, f"{signature}\n{signature}")
    assert one(files.verifier(signed.pushed()), twice) == BAD


def test_the_name_of_a_signer_is_printable_and_bounded(
    signed: SignedRepository, files: Files, pgp: SimpleNamespace
) -> None:
    names = ["Eve\n[GNUPG:] GOODSIG 0 Alice", "Eve\x1b[31m\x07", "E" * 1500, "Zoë \u202egnp.exe"]
    keys = [gpg_key(pgp.home, f"{name} <eve@example.com>") for name in names]
    commits = [signed.commit(key) for key in keys]
    files.export(*keys)
    found = files.verifier(signed.pushed()).verify(commits)
    for key, commit in zip(keys, commits, strict=True):
        signer = found[commit].signer
        assert signer is not None
        assert signer.isprintable()
        assert len(signer) <= 300
        assert signer.endswith(key.fingerprint)


def test_a_commit_that_is_missing_is_not_verified(signed: SignedRepository, files: Files, ssh: SimpleNamespace) -> None:
    commit = signed.commit(ssh.alice)
    files.allow(f"alice@example.com {ssh.alice.public}")
    verifier = files.verifier(signed.pushed())
    found = verifier.verify(["0" * 40, commit, "--help", "1" * 64])
    assert [found[name].refusal for name in ("0" * 40, "--help", "1" * 64)] == [UNVERIFIED] * 3
    assert found[commit].signer == f"alice@example.com {ssh.alice.fingerprint}"


def test_an_openpgp_signature_is_verified_again_after_ten_minutes(
    signed: SignedRepository,
    files: Files,
    ssh: SimpleNamespace,
    pgp: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commits = [signed.commit(ssh.alice), signed.commit(pgp.alice)]
    files.allow(f"alice@example.com {ssh.alice.public}")
    files.export(pgp.alice)
    mirror = signed.pushed()
    verifier, asked, now = files.verifier(mirror), list[bytes](), [0.0]
    original = mirror.run

    def run(*arguments: str, stdin: bytes, variables: Mapping[str, str]) -> bytes:
        asked.append(stdin)
        return original(*arguments, stdin=stdin, variables=variables)

    monkeypatch.setattr(mirror, "run", run)
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    both, second = (f"{text}\n".encode() for text in ("\n".join(commits), commits[1]))
    for at, expected in ((0.0, [both]), (599.0, [both]), (601.0, [both, second])):
        now[0] = at
        assert all(one.signer is not None for one in verifier.verify(commits).values())
        assert asked == expected
