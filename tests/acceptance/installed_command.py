"""The installed command against the sandbox in another process: real files, real ports, real signals."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.platform.settings import Settings
from agent.store import open_reading, store_exists
from agent.store.revisions import COLUMNS
from agent.views.resource import request_json
from tests.acceptance.sources import Folder, Repository, Source
from tests.support.stores import records
from tests.support.timeouts import PATIENT, eventually
from verification.builders.pictures import jpeg
from verification.builders.request_files import request_file, upload_spec, write, write_atomically
from verification.builders.settings import environment, settings
from verification.processes import COMMAND, PROMPT, ledger_at

NEVER = "10m"  # POLL_INTERVAL longer than a test: a request that was started waits for its result


@dataclass
class Office:
    """A source of requests, a simulated Assure, and the command between them."""

    folder: Path
    url: str
    output: str = ""  # the output of all commands so far
    settings: dict[str, str] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)  # the settings that place it in a database
    let_lease_end: Callable[[], None] = lambda: None  # of an agent that was killed, so that another one may start
    rows: Callable[[], bytes] = bytes  # of the database; nothing for a state file
    source: Source = field(init=False)  # a folder, unless a test sets another one

    def __post_init__(self) -> None:
        self.source = Folder(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        store = {name.upper(): str(value) for name, value in self.store.items()}
        given = PROMPT | {"LOG_LEVEL": "debug"} | store | self.source.settings | self.settings
        return environment(self.folder, self.url, **given)

    def write(self, name: str, **spec: Any) -> Path:
        """Write one request file."""
        labels = spec.pop("labels", {})
        return write(self.source.specs / f"{name}.yaml", request_file(name, spec, labels=labels))

    def upload(self, name: str, outcome: str = "accepted", selfie: bool = False, **more: Any) -> Path:
        """Write an upload request whose image carries the outcome."""
        images = {"front": picture(self.folder / "images", outcome)}
        if selfie:
            images["selfie"] = picture(self.folder / "images", "selfie")
        if selfie:
            more["processType"] = "documentSelfie"
        return self.write(name, **upload_spec(images, **more))

    def run(self, *arguments: str, timeout: float = PATIENT) -> int:
        """Publish the requests and run the command to its end; returns the exit code."""
        self.source.publish()
        done = subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        self.output += done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        done = subprocess.run(
            [*COMMAND, *arguments, "-o", "json"], env=self.environment, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    def plan(self) -> dict[str, Any]:
        """Run `plan`; its exit code may be any."""
        done = subprocess.run([*COMMAND, "plan", "-o", "json"], env=self.environment, capture_output=True, text=True)
        plan: dict[str, Any] = json.loads(done.stdout)
        return plan

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Publish the requests, and run the agent in the background; ended with SIGTERM.

        Its output goes to a file: a pipe without a reader is full after 64 KiB and would block the agent.
        """
        self.source.publish()
        log = self.folder / "agent.platform.log"
        with (
            log.open("w") as file,
            subprocess.Popen([*COMMAND, "run"], env=self.environment, stdout=file, stderr=subprocess.STDOUT) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=PATIENT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
                finally:
                    self.output += log.read_text()

    # -- reading the store in this process, because a command takes half a second to start

    @property
    def stored(self) -> Settings:
        """The settings that open the store."""
        return Settings(**settings(self.folder, self.url, **self.store))

    def state_bytes(self) -> bytes:
        """The files of the state folder, and the rows of the database. No agent runs."""
        files = (path for path in (self.folder / "state").rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files) + self.rows()

    def seen(self) -> dict[str, dict[str, Any]]:
        """The requests that `get` would print now, by name; none while the store is being created."""
        return {name: request_json(record) for name, record in records(self.stored).items()}

    def items(self) -> dict[str, dict[str, Any]]:
        """The same requests, when the store must exist."""
        assert store_exists(self.stored)
        return self.seen()

    def offers(self, name: str) -> bool:
        """True when there is a capture link for this request."""
        if name not in (seen := self.seen()):
            return False
        with open_reading(self.stored) as reading:
            return reading.link(seen[name]["uid"]) is not None

    def scans(self, count: int = 4) -> None:
        """Return after `count` more scans of the source. A git source is scanned again when it has a new commit."""
        if "SOURCE_URL" in self.source.settings:
            assert isinstance(self.source, Repository)
            for _ in range(count):
                self.source.commit("--allow-empty")
                self.source.push()
                self.acts_on(self.source.head())
            return
        seen = {self.scanned_at()}

        def scanned() -> bool:
            seen.add(self.scanned_at())
            return len(seen) > count

        eventually(scanned, lambda: "the agent does not scan")

    def acts_on(self, commit: str) -> None:
        """Return when the agent has scanned this revision."""
        eventually(lambda: self.git_source().get("revision") == commit, lambda: f"{self.git_source()}, not {commit}")

    def git_source(self) -> dict[str, Any]:
        """The row of the git source in the store; empty before its first refresh."""
        if not store_exists(self.stored):
            return {}
        with open_reading(self.stored) as reading:
            rows = reading.query(f"SELECT {', '.join(COLUMNS)} FROM source_revisions")
            return dict(zip(COLUMNS, rows[0], strict=True)) if rows else {}

    def scanned_at(self) -> float:
        """When the last scan was recorded."""
        with open_reading(self.stored) as reading:
            ((at,),) = reading.query("SELECT max(synced_at) FROM sources")
        return float(at)

    def link(self, name: str) -> str | None:
        """The capture link of a request, or None when there is none now."""
        done = subprocess.run(
            [*COMMAND, "get", name, "--link"], env=self.environment, capture_output=True, text=True, timeout=PATIENT
        )
        return done.stdout.strip() or None

    def ledger(self) -> dict[str, Any]:
        """The ledger of the sandbox."""
        return ledger_at(self.url)

    def processes(self) -> list[dict[str, Any]]:
        """All processes of the ledger."""
        return [process for dossier in self.ledger()["dossiers"] for process in dossier["processes"]]

    def left_behind(self) -> list[dict[str, Any]]:
        """The dossiers that were not deleted."""
        return [dossier for dossier in self.ledger()["dossiers"] if dossier["deletedAt"] is None]


def picture(folder: Path, marker: str) -> str:
    """Write a small picture with an outcome for the sandbox; returns its path below the folder."""
    comment = "a selfie" if marker == "selfie" else f"sandbox-outcome={marker}"
    return write_atomically(folder / f"{marker}.jpg", jpeg(comment)).name
