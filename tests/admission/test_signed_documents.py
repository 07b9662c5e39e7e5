"""SOURCE_VERIFY=each: nothing follows from a document whose last change no allowed signer signed; the others go on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import AgentError
from agent.core.field_types import RESOLVE
from agent.core.record import Phase
from agent.core.source_revision import RevisionRefusal
from agent.source.folder import Folder
from agent.source.folder_source import FolderSource
from agent.source.git_provenance import Provenance
from tests.controller.controller_harness import ControllerHarness, desk_at
from tests.store.support import rows
from verification.audits import verified
from verification.builders.lives import Life

COMMIT, FILE_COMMIT, SIGNER = "a" * 40, "b" * 40, "alice@example.com SHA256:key"
SIGNED = Provenance(commit=COMMIT, dirty=False, author="Alice", file_commit=FILE_COMMIT, signer=SIGNER)
UNSIGNED = Provenance(
    commit=COMMIT, dirty=False, author="Mallory", file_commit="c" * 40, refusal=RevisionRefusal.UNSIGNED
)


@dataclass
class Signatures(FolderSource):
    """A folder whose files have the provenance that a test gives. `asked` are the files that admission asked for."""

    folder: Path
    given: dict[str, Provenance] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(Folder(self.folder, settle=0))

    def query(self, files: Collection[str]) -> Any:
        return self

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        self.asked += files
        return {file: self.given.get(file, SIGNED) for file in files}


def signatures(desk: ControllerHarness) -> Signatures:
    desk.admission._source = source = Signatures(desk.specs)
    return source


def origins(desk: ControllerHarness) -> list[tuple[Any, ...]]:
    return rows(desk.folder / "state", "SELECT generation, author, file_commit, signer FROM provenance")


async def test_the_signer_and_the_commit_of_a_document_are_recorded(folder: Path) -> None:
    """[I5]"""
    async with desk_at(folder) as desk:
        signatures(desk)
        desk.capture("a")
        await desk.scan()
        assert (desk.record("a").desired.commit, desk.record("a").desired.origin) == (COMMIT, None)
        assert origins(desk) == [(1, "Alice", FILE_COMMIT, SIGNER)]
        assert verified(desk.store.path).findings == ()


@pytest.mark.parametrize("refusal", list(RevisionRefusal))
async def test_a_new_document_without_a_good_signature_is_refused(folder: Path, refusal: RevisionRefusal) -> None:
    async with desk_at(folder) as desk:
        source = signatures(desk)
        desk.capture("a")
        path = desk.capture("b")
        path.write_text("# a comment\n---\n" + path.read_text())
        source.given["b.yaml"] = Provenance(commit=COMMIT, file_commit="c" * 40, refusal=refusal)
        synced = await desk.scan()
        (fault,) = synced.refusals
        assert (desk.find("b"), desk.find("a") is not None) == (None, True)
        assert (fault.file, fault.line, fault.name) == ("b.yaml", 3, "b")
        if refusal is not RevisionRefusal.NOT_DESCENDED:
            assert "commit cccccccccccc" in fault.message
        assert fault.hint
        assert SIGNER not in str(fault)
        source.given["b.yaml"] = SIGNED
        assert (await desk.scan()).refusals == ()
        assert desk.find("b") is not None


async def test_a_changed_document_without_a_good_signature_leaves_its_request_as_it_is(folder: Path) -> None:
    async with desk_at(folder) as desk:
        source = signatures(desk)
        desk.capture("a")
        await desk.scan()
        admitted = desk.record("a")
        desk.capture("a", capture={"uiProfile": "other"})
        source.given["a.yaml"] = UNSIGNED
        (fault,) = (await desk.scan(3)).refusals
        assert "has no signature" in fault.message
        assert desk.record("a") == admitted  # neither changed nor withdrawn
        assert origins(desk) == [(1, "Alice", FILE_COMMIT, SIGNER)]


async def test_an_admitted_document_is_not_asked_for_its_signature_again(folder: Path) -> None:
    """A key that is revoked later refuses nothing that is admitted, also after a restart."""
    async with desk_at(folder) as desk:
        signatures(desk)
        desk.capture("a")
        await desk.scan()
        desk.restart()
        source = signatures(desk)
        source.given["a.yaml"] = UNSIGNED
        assert (await desk.scan(2)).refusals == ()
        assert source.asked == []


async def test_a_rerun_needs_the_signature_of_the_document_it_uses(folder: Path) -> None:
    async with desk_at(folder) as desk:
        source = signatures(desk)
        desk.capture("a")
        await desk.scan()
        found = await desk.admission.find_document("a", "again")
        assert found.origin is not None
        assert (found.rerun, found.origin.signer, found.commit) == ("again", SIGNER, COMMIT)
        source.given["a.yaml"] = UNSIGNED
        with pytest.raises(AgentError, match="has no signature") as raised:
            await desk.admission.find_document("a", "again")
        assert raised.value.hint


@pytest.mark.parametrize("answer", ["abandon", "retry"])
async def test_the_answer_of_an_unsigned_file_to_a_hold_is_refused(folder: Path, answer: str) -> None:
    """An answer needs no more than a line in the file, and may start another verification."""
    other = {"uiProfile": "other"}
    async with desk_at(folder) as desk:
        source = signatures(desk)
        desk.capture("a")
        await desk.scan()
        life = Life()
        life.steps = desk.steps[:1]
        await desk.store.commit(life.until(Phase.RESULT).steps[1:])
        desk.capture("a", capture=other)
        await desk.scan()
        hold = desk.record("a").hold
        assert hold is not None
        source.given["a.yaml"] = UNSIGNED
        desk.capture("a", capture=other, annotations={RESOLVE: f"{answer}@{hold.id}"})
        (fault,) = (await desk.scan()).refusals
        assert "has no signature" in fault.message
        assert desk.record("a").hold == hold
        source.given["a.yaml"] = SIGNED
        assert (await desk.scan()).refusals == ()
        assert desk.record("a").hold is None
        assert verified(desk.store.path).findings == ()
