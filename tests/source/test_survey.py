"""A name that several documents use is found before any request is admitted from an incomplete scan."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.source import scan as scan_module
from agent.source.folder import Folder, Scan
from agent.source.loader import Document, load
from agent.source.survey import Survey, names_in
from agent.source.yaml_reader import Limits
from verification.builders.request_files import capture, write

_HEAD = "apiVersion: assure-agent/v1\nkind: VerificationRequest\n"
_SPEC = "spec:\n  processType: document\n  capture:\n    redirectUrl: https://shop.example/a\n"
_METADATA = [f"metadata:\n  {rest}\n" for rest in ("name: a", "name: b", "labels: {}\n  name: d", "name: a\n    b")]
_OTHERS = ["metadata: {name: c}\n", "metadata:\n  name: 'e'\n", "metadata:\n  name: a # c\n", "kind: |\n  name: z\n"]
_ENDS = ["---\n", "--- \n", "...\n", "\r", "\ufeff", "# name: x\n", "  name: f\n"]
_LINES = st.sampled_from([*_METADATA, *_OTHERS, *_ENDS, _HEAD, _SPEC])


@given(st.lists(_LINES, max_size=12).map("".join))
@example(f"{_HEAD}metadata:\n  name: a\n{_SPEC}\r---\n{_HEAD}metadata:\n  name: b\n{_SPEC}")
@example(f"{_HEAD}metadata:\n  name: a\n{_SPEC}---\n{_HEAD}metadata:\n  name: a\n{_SPEC}")
@example(f"{_HEAD}metadata: {{name: c}}\n{_SPEC}")
def test_the_survey_finds_the_name_of_each_valid_document_as_often_as_it_is_used(text: str) -> None:
    content = text.encode()
    found = list(names_in(content, Limits()))
    for document in load(content, "a.yaml").documents:
        found.remove(document.name)


def test_a_name_is_unique_only_in_its_own_file() -> None:
    survey = Survey(Limits())
    survey.add("a.yaml", capture("a").encode())
    survey.add("b.yaml", f"{capture('b')}---\n{capture('b')}".encode())
    assert survey.is_unique("a", "a.yaml")
    assert not survey.is_unique("a", "c.yaml")  # the file got this name after the survey
    assert not survey.is_unique("b", "b.yaml")


def gradual(folder: Path) -> tuple[list[list[str]], Scan]:
    """The names of each step, and the scan."""
    steps: list[list[str]] = []
    for step in Folder(folder, settle=0).scan_gradually():
        if isinstance(step, Scan):
            return steps, step
        steps.append([document.name for document in step])
    raise AssertionError


def test_documents_are_handed_over_in_steps_without_shared_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "_HANDED_OVER", 2)
    for number in range(7):
        write(tmp_path / f"{number}/request.yaml", capture(f"n{number}"))
    write(tmp_path / "first.yaml", capture("n6"))
    write(tmp_path / "broken.yaml", "metadata: [")
    steps, scan = gradual(tmp_path)
    assert sorted(name for step in steps for name in step) == [f"n{number}" for number in range(6)]
    assert max(map(len, steps)) == 2
    whole = Folder(tmp_path, settle=0).scan()
    assert scan.documents == whole.documents
    assert (scan.faults, scan.claimed, scan.files) == (whole.faults, whole.claimed, whole.files)
    assert "n6" in scan.claimed


def test_a_missing_folder_ends_a_gradual_scan_with_its_error(tmp_path: Path) -> None:
    steps, scan = gradual(tmp_path / "none")
    assert steps == []
    assert scan.error is not None


def test_the_documents_of_the_steps_are_those_of_the_scan(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", capture("a"))
    steps = list(Folder(tmp_path, settle=0).scan_gradually())
    (document,) = (one for step in steps if isinstance(step, list) for one in step)
    scan = steps[-1]
    assert isinstance(document, Document)
    assert isinstance(scan, Scan)
    assert scan.documents["a"] is document
