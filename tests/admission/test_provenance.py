"""The provenance of a generation: commit and state in the audit log, the origin in a table of its own."""

from pathlib import Path

import orjson
import pytest

from tests.controller.controller_harness import ControllerHarness, desk_at
from tests.store.support import rows
from tests.support.git import commit, git, repository
from verification.audits import verified
from verification.builders.request_files import capture, write

AUTHOR = "Ann Author"


@pytest.fixture
def clone(folder: Path) -> Path:
    clone = repository(folder / "git")
    (folder / "specs").symlink_to(clone)
    return clone


def authors(desk: ControllerHarness) -> list[tuple[int, str, str]]:
    return rows(desk.folder / "state", "SELECT generation, file, author FROM provenance ORDER BY generation")


def events(desk: ControllerHarness) -> list[dict[str, object]]:
    return [orjson.loads(row[0]) for row in rows(desk.folder / "state", "SELECT changes FROM events ORDER BY id")]


async def test_a_generation_records_its_commit_and_whether_its_file_is_as_committed(folder: Path, clone: Path) -> None:
    async with desk_at(folder) as desk:
        desk.capture("a")
        first = commit(clone, by=AUTHOR)
        await desk.scan()
        assert (desk.record("a").desired.commit, desk.record("a").desired.dirty) == (first, False)
        desk.capture("a", capture={"uiProfile": "other"})
        await desk.scan()
        assert (desk.record("a").generation, desk.record("a").desired.dirty) == (2, True)
        desk.capture("a", capture={"uiProfile": "third"})
        third = commit(clone, by="Zoë")
        await desk.scan()
        assert [(one.get("commit"), one.get("dirty")) for one in events(desk)] == [
            (first, False),
            (None, True),
            (third, False),
        ]
        assert authors(desk) == [(1, "a.yaml", AUTHOR), (2, "a.yaml", AUTHOR), (3, "a.yaml", "Zoë")]
        assert verified(desk.store.path).findings == ()


async def test_a_scan_after_an_event_records_the_commit_as_well(folder: Path, clone: Path) -> None:
    async with desk_at(folder) as desk:
        await desk.scan()
        desk.capture("a")
        head = commit(clone)
        await desk.admission.scan(prune=False)
        assert desk.record("a").desired.commit == head


async def test_another_commit_of_the_same_document_is_not_a_change(folder: Path, clone: Path) -> None:
    async with desk_at(folder) as desk:
        path = desk.capture("a")
        commit(clone)
        await desk.scan()
        before = desk.record("a")
        path.write_text("# a comment\n" + path.read_text())
        commit(clone)
        await desk.scan(2)
        desk.restart()
        await desk.scan(2)
        assert desk.record("a") == before
        assert len(desk.steps) == 1


async def test_the_author_is_in_one_table_and_nowhere_else(folder: Path, clone: Path) -> None:
    """[I6]"""
    async with desk_at(folder) as desk:
        desk.capture("a")
        commit(clone, by=AUTHOR)
        await desk.scan()
        assert desk.record("a").desired.origin is None
        tables = [row[0] for row in rows(desk.folder / "state", "SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert [one for one in tables if AUTHOR in str(rows(desk.folder / "state", f"SELECT * FROM {one}"))] == [
            "provenance"
        ]


async def test_without_a_repository_nothing_is_recorded(folder: Path) -> None:
    async with desk_at(folder) as desk:
        desk.capture("a")
        await desk.scan()
        assert (desk.record("a").desired.commit, desk.record("a").desired.dirty) == (None, None)
        assert not {"commit", "dirty"} & events(desk)[0].keys()
        assert authors(desk) == []


async def test_a_repository_that_cannot_be_read_refuses_and_delays_nothing(folder: Path, clone: Path) -> None:
    async with desk_at(folder) as desk:
        desk.capture("a")
        head = commit(clone)
        (clone / ".git/refs/heads/main").write_text("garbage")
        assert (await desk.scan()).refusals == ()
        assert desk.record("a").desired.commit is None
        assert authors(desk) == [(1, "a.yaml", "not known (the repository cannot be read)")]
        (clone / ".git/refs/heads/main").write_text(f"{head}\n")
        desk.capture("b")
        await desk.scan()
        assert desk.record("b").desired.commit == head


async def test_in_a_shallow_clone_no_wrong_author_is_named(folder: Path) -> None:
    """[issue 14] The end of a shallow clone is not the first commit."""
    clone = repository(folder / "git")
    for name, by in (("alpha", "Ann"), ("beta", "Ben"), ("gamma", "Robot")):
        write(clone / f"{name}.yaml", capture(name))
        commit(clone, by=by)
    git(folder, "clone", "-q", "--depth=2", f"file://{folder}/git/remote.git", "specs")
    async with desk_at(folder) as desk:
        await desk.scan()
        reported = {file: author for _, file, author in authors(desk)}
        unknown = "not known (shallow clone)"
        assert reported == {"alpha.yaml": unknown, "beta.yaml": unknown, "gamma.yaml": "Robot"}


async def test_a_document_that_waits_for_its_generation_has_its_author_under_that_generation(
    folder: Path, clone: Path
) -> None:
    async with desk_at(folder) as desk:
        write(clone / "a.yaml", capture("a", suspend=True))
        commit(clone, by=AUTHOR)
        await desk.scan()
        write(clone / "a.yaml", capture("a", suspend=True, labels={"team": "risk"}))
        git(clone, "add", "-A")
        commit(clone, by="Zoë")
        await desk.scan()
        assert desk.record("a").generation == 1  # in place: the document it follows now
        assert authors(desk) == [(1, "a.yaml", "Zoë")]
