"""Keys that sign commits, made by the real programs, and repositories with signed commits."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.mirror import Mirror
from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.programs import need
from verification.builders.request_files import write

_PLAIN = {name: value for name, value in CLEAN_ENVIRONMENT.items() if not name.startswith(("GNUPG", "SSH_"))}


@dataclass(frozen=True, slots=True)
class Key:
    """A key: the options with which git signs by it, and its fingerprint."""

    options: tuple[str, ...]
    fingerprint: str
    public: str = ""  # of an ssh key: its type and its key
    home: Path | None = None  # of an OpenPGP key


def ssh_key(folder: Path, name: str) -> Key:
    """A new ssh key."""
    run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
    return _ssh(folder / f"{name}.pub", folder / name)


def certified(folder: Path, name: str, authority: str, principals: str, *options: str) -> Key:
    """An ssh key with a certificate by the key `authority` of the same folder."""
    ssh_key(folder, name)
    arguments = ("-q", "-s", str(folder / authority), "-I", name, "-n", principals, *options)
    run("ssh-keygen", *arguments, str(folder / f"{name}.pub"))
    certificate = folder / f"{name}-cert.pub"
    shutil.copy(folder / name, folder / f"{name}-cert")
    return _ssh(certificate, certificate)


def _ssh(public: Path, signing: Path) -> Key:
    fingerprint = run("ssh-keygen", "-l", "-f", str(public)).split()[1]
    options = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={signing}")
    return Key(options, fingerprint, " ".join(public.read_text().split()[:2]))


@contextlib.contextmanager
def gpg_home() -> Iterator[Path]:
    """A folder for OpenPGP keys. Its path is short, because sockets are made in it."""
    need("gpg")
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        yield home
    finally:
        run("gpgconf", "--kill", "all", GNUPGHOME=str(home))
        shutil.rmtree(home, ignore_errors=True)


def gpg_key(home: Path, user_id: str, expires: str = "never", *options: str) -> Key:
    """A new OpenPGP key. `options` are for gpg, as `--faked-system-time`."""
    before = _fingerprints(home)
    unlocked = ("--pinentry-mode", "loopback", "--passphrase", "")
    gpg(home, *options, *unlocked, "--quick-gen-key", user_id, "ed25519", "sign", expires)
    (fingerprint,) = _fingerprints(home) - before
    return Key(("-c", "gpg.format=openpgp", "-c", f"user.signingkey={fingerprint}"), fingerprint, home=home)


def _fingerprints(home: Path) -> set[str]:
    lines = [line.split(":") for line in gpg(home, "--with-colons", "--list-keys").splitlines()]
    return {line[9] for line in lines if line[0] == "fpr"}


def revoke(key: Key) -> None:
    """Revoke an OpenPGP key with the certificate that was made together with it."""
    assert key.home is not None
    certificate = (key.home / f"openpgp-revocs.d/{key.fingerprint}.rev").read_text()
    gpg(key.home, "--import", given=certificate.replace(":-----BEGIN", "-----BEGIN"))


def expire(key: Key) -> None:
    """Let an OpenPGP key expire."""
    assert key.home is not None
    gpg(key.home, "--quick-set-expire", key.fingerprint, "seconds=1")
    while "\npub:e:" not in gpg(key.home, "--with-colons", "--list-keys", key.fingerprint):
        sleep(0.1)


def gpg(home: Path, *arguments: str, given: str = "") -> str:
    """The output of gpg."""
    return run("gpg", "--batch", "--quiet", *arguments, given=given, GNUPGHOME=str(home))


class SignedRepository:
    """A clone with commits by keys, pushed to a bare repository, and a mirror of that."""

    def __init__(self, folder: Path, form: str = "sha1") -> None:
        self.clone = folder / "repository/clone"
        remote = folder / "repository/remote.git"
        run("git", "init", "-q", "--bare", f"--object-format={form}", str(remote))
        run("git", "-c", "init.defaultBranch=main", "init", "-q", f"--object-format={form}", str(self.clone))
        self.git("remote", "add", "origin", str(remote))
        access = RepositoryAccess(url=f"file://{remote}", branch="main")
        self.mirror = Mirror(folder / "mirror.git", access)
        self.mirror.open()

    def git(self, *arguments: str, key: Key | None = None, at: str = "", given: str = "") -> str:
        """The output of a git command in the clone, with commits by this key at this time."""
        dates = {"GIT_COMMITTER_DATE": at, "GIT_AUTHOR_DATE": at} if at else {}
        home = {"GNUPGHOME": str(key.home)} if key is not None and key.home is not None else {}
        signing = (*key.options, "-c", "commit.gpgsign=true") if key is not None else ()
        names = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.test")
        return run("git", *names, *signing, *arguments, cwd=self.clone, given=given, **dates, **home).strip()

    def commit(self, key: Key | None = None, files: Mapping[str, str | None] | None = None, at: str = "") -> str:
        """Write these files (None: delete it), commit, and return the commit."""
        for name, content in (files or {}).items():
            if content is None:
                (self.clone / name).unlink()
            else:
                write(self.clone / name, content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change", key=key, at=at)
        return self.head()

    def head(self) -> str:
        """The commit of the clone."""
        return self.git("rev-parse", "HEAD")

    def pushed(self) -> Mirror:
        """The mirror, with all that the clone has now."""
        self.git("push", "-q", "--force", "origin", "HEAD:main")
        self.mirror.fetch()
        return self.mirror

    def forged(self, commit: str, old: str, new: str) -> str:
        """A commit that is like another one, but for a text in it. The clone has it as its head."""
        raw = self.git("cat-file", "commit", commit).replace(old, new) + "\n"
        forged = self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", given=raw)
        self.git("reset", "-q", "--hard", forged)
        return forged


def run(*command: str, cwd: Path | None = None, given: str = "", **variables: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, input=given, env=_PLAIN | variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
