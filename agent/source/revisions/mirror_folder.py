"""The files of the mirror: created, and cleaned after a process that was killed."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from agent.core.errors import AgentError
from agent.core.source_revision import FetchFailure
from agent.platform.files import write_atomically
from agent.platform.trusted_files import read_trusted
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError, as_fetch_errors
from agent.source.revisions.git_process import kill_group
from agent.source.revisions.mirror_config import authorities, configuration

_PATIENCE = 10.0  # seconds until a killed git must have ended
_FORMS = {"sha1": 40, "sha256": 64}  # digits of a name
_LEFT_OVER = ("tmp_", ".tmp-")  # how git begins the names of files that it has not completed


class MirrorFolder:
    """The folder. Raises FetchError."""

    def __init__(self, path: Path, access: RepositoryAccess, borrowed: Path | None) -> None:
        self.path, self.objects = path, path / "objects"
        self._access, self._borrowed = access, borrowed
        self._form = path / "form"  # the hash function of the repository
        self._known = path / "known"  # while packs arrive: the names of those before

    def open(self) -> None:
        """Create the folder, or mend it. Writes the configuration again."""
        with as_fetch_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            with self.busy():
                self.clean()
                if self._known.exists():
                    self._remove_arrived()
            form = self._form.read_text() if self._form.exists() else ""
            self._write(form if form in _FORMS else "sha1")

    def exchange_form(self) -> None:
        """Forget all objects, because the repository uses the other hash function."""
        with as_fetch_errors(self.path):
            form = "sha256" if self._form.read_text() == "sha1" else "sha1"
            for name in ("objects", "refs"):
                shutil.rmtree(self.path / name, ignore_errors=True)
            self._write(form)

    def remove_ref(self, name: str) -> None:
        """Remove a ref, if it exists."""
        with as_fetch_errors(self.path):
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def busy(self) -> Iterator[int]:
        """Yields a locked descriptor for git to inherit: the next process of this agent sees that git still runs.

        A git that runs on from an earlier process is killed.
        """
        with as_fetch_errors(self.path):
            lock = os.open(self.path / "busy", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = monotonic() + _PATIENCE
            while not _locked(lock):
                _kill_holders(lock)
                if monotonic() > until:
                    raise FetchError(FetchFailure.DISK, f"another git uses {self.path}, and does not end")
                sleep(0.02)
            yield lock
        finally:
            os.close(lock)

    def clean(self) -> None:
        """Remove locks and incomplete files. No git is running."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                if name.endswith(".lock") or name.startswith(_LEFT_OVER):
                    (Path(folder) / name).unlink(missing_ok=True)
        (self.path / "shallow").unlink(missing_ok=True)
        for ref in (self.path / "refs").glob("**/*"):
            if ref.is_file() and len(ref.read_bytes().strip()) not in _FORMS.values():
                ref.unlink()  # empty since the machine stopped

    def pack_bytes(self) -> int:
        """The size of all packs, with those that are arriving now."""
        total = 0
        for entry in _scanned(self.objects / "pack"):
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
        return total

    def packs(self) -> set[str]:
        """The names of all packs."""
        return {
            entry.name.removesuffix(".pack") for entry in _scanned(self.objects / "pack") if entry.name[-5:] == ".pack"
        }

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Keep the packs that arrive meanwhile only if nothing fails. After a kill, the next `open` removes them."""
        with as_fetch_errors(self.path):
            write_atomically(self._known, "\n".join(self.packs()).encode())
        try:
            yield
        except BaseException:
            self._remove_arrived()
            raise
        with as_fetch_errors(self.path):
            self._known.unlink()

    def _remove_arrived(self) -> None:
        with as_fetch_errors(self.path):
            known = set(self._known.read_text().split("\n"))
            for name in self.packs() - known:
                for path in (self.objects / "pack").glob(f"{name}.*"):
                    path.unlink(missing_ok=True)
            self._known.unlink()

    def _write(self, form: str) -> None:
        """Write everything that git does not write itself."""
        for folder in ("objects/info", "objects/pack", "refs"):
            (self.path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("config.worktree", "packed-refs", "info", "hooks", "commondir", "gitdir"):
            unwanted = self.path / name
            if unwanted.is_dir() and not unwanted.is_symlink():
                shutil.rmtree(unwanted)
            else:
                unwanted.unlink(missing_ok=True)
        bundle = self._bundle()
        write_atomically(self.path / "config", configuration(self._access, form, bundle).encode())
        write_atomically(self.path / "HEAD", b"ref: refs/assure/none\n")
        write_atomically(self._form, form.encode())
        alternates = self.objects / "info/alternates"
        if self._borrowed is None or not self._borrowed.is_dir():
            alternates.unlink(missing_ok=True)
        else:
            write_atomically(alternates, os.fsencode(self._borrowed.absolute()) + b"\n")

    def _bundle(self) -> Path | None:
        """The file of trusted authorities; None if git finds those of the system itself."""
        if self._access.protocol != "https":
            return None
        ca_file = self._access.ca_file
        try:
            content = authorities(read_trusted(ca_file) if ca_file is not None else b"")
        except AgentError as error:
            raise FetchError(FetchFailure.TLS, str(error)) from None
        except OSError as error:
            raise FetchError(FetchFailure.TLS, f"{error.filename}: {error.strerror}") from None
        path = self.path / "authorities.pem"
        if content:
            write_atomically(path, content)
        return path if content else None


def _scanned(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _kill_holders(lock: int) -> None:
    """Kill the sessions of the processes that have this file open, as git and its children have it."""
    wanted = os.fstat(lock)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(process.name)
            if pid == os.getpid() or os.getsid(pid) != os.getpgid(pid):
                continue
            if any(os.path.samestat(wanted, path.stat()) for path in (process / "fd").iterdir()):
                kill_group(os.getpgid(pid))
