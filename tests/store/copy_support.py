"""A state file with rows in every table, for copies, and the settings of its copies."""

from pathlib import Path

from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.ports import Command, MetaKey
from agent.store import copy_place, copy_source, copy_target
from agent.store.copy.copying import Copied, copy_store
from verification.builders.lives import Life
from verification.builders.records import NOW, ORIGIN, capture, upload

from .support import changed, committed, opened

_ROWS = (
    "INSERT INTO receipts VALUES ('d1', 1.5)",
    "INSERT INTO recoveries VALUES (1, 1.25, 'older', 7, 5, NULL, 2, 3, 4)",
    "INSERT INTO reservations VALUES ('u1', 9, 0.1)",
    "INSERT INTO orphans VALUES ('aa-1', 'u1', 1e9, NULL, NULL)",
    "INSERT INTO unclaimed_dossiers VALUES ('D-9', 'aa-9', 1e9)",
    "INSERT INTO claims VALUES ('u1', 1, '20261201-ab', x'00ff', x'0001027f80', 1e10)",
    "INSERT INTO image_deletions VALUES ('u1', 1.0, 2, 3.0, 'EACCES', '{\"front\": \"deleted\"}')",
    "INSERT INTO superseded_images VALUES ('u1', 1, 'front', 'a/b.jpg', 'aa', 1.0, 0, 0, NULL, NULL, NULL)",
    "INSERT INTO sources VALUES ('default', 1753000000.123457, 4, 1, 0)",
    "INSERT INTO source_revisions (source, revision, signer) VALUES ('default', 'c0ffee', 'Zoë <z@example.com>')",
    "INSERT INTO refusals VALUES ('default', 'ü\t\\N.yaml', 1, 2, 'line one\nline two', '', NULL)",
    "INSERT INTO refusals VALUES ('default', 'b.yaml', 1, 2, 'm', 'h', 'name-𝄞')",
    "INSERT INTO scan_notes VALUES ('default', 'u1', 'stray-answer', '')",
    "INSERT INTO withdrawals VALUES ('u1', 1, 5.0)",
    f"INSERT INTO meta VALUES ('{MetaKey.CLOCK}', 'text'), ('{MetaKey.PAUSED}', 1753000000.1234567)",
)


async def filled(folder: Path) -> Path:
    """A closed state file with at least one row in each table."""
    folder.mkdir(exist_ok=True)
    store = opened(folder, sinks=("one-sink",))
    labels = (("team", "ü"), ("zone", "a"))
    await committed(store, Life("u1", upload(labels=labels, origin=ORIGIN, file="f1")).until(Phase.DONE))
    for number in range(2, 6):
        await committed(store, Life(f"u{number}", capture(labels=labels, origin=ORIGIN)).until(Phase.RESULT))
    await store.apply_command(Command(id="c1", verb="pause", uid=None, sender="root"), "paused", NOW)
    await store.checkpoint(NOW)
    await committed(store, Life("u6", upload(back=False)).until(Phase.PROCESS))
    store.close()
    changed(folder, *_ROWS)
    return folder / "agent.db"


def file_settings(path: Path) -> Settings:
    """The settings of a state file."""
    return Settings(state_url=f"sqlite:///{path}")


def database_settings(url: str, folder: Path, **others: object) -> Settings:
    """The settings of a database whose local files are in this folder."""
    return Settings(**{"state_url": url, "state_dir": folder, "keys_dir": folder / "day-keys"} | others)


class Steps:
    """The progress of a copy, as a list of its steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.rows: list[tuple[int, int]] = []  # of each step: expected and finished

    def begin(self, step: str, rows: int) -> None:
        self.steps.append(step)
        self.rows.append((rows, 0))

    def advance(self, rows: int) -> None:
        expected, finished = self.rows[-1]
        self.rows[-1] = (expected, finished + rows)


async def copied(origin: Settings, to: Settings, steps: Steps | None = None) -> Copied:
    """Copy a store as the command does."""
    async with copy_source(origin) as source, copy_target(to) as target:
        return await copy_store(source, copy_place(origin), target, copy_place(to), steps or Steps())
