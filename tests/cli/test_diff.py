"""`diff`: the fields of a file that differ from the admitted document, also inside `plan`."""

import asyncio
import sys
from dataclasses import replace

import pytest

from agent.core.assure_types import CaptureOptions, Depiction, DocumentKey, ProcessType
from agent.core.effect import ImageRef
from agent.core.record import Desired, Record
from agent.core.request_schema import request_schema
from agent.views.document_diff import document_diff, document_fields, is_personal
from tests.cli.command_runner import CommandResult, Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import capture, write

__all__ = ["begin", "world"]


@pytest.fixture
def state(world: World, here: Here) -> Here:
    here.env |= {"SPECS_DIR": str(world.specs), "IMAGES_DIR": str(world.images)}
    return on_world(here, world)


async def said(state: Here, *arguments: str) -> CommandResult:
    return await asyncio.to_thread(state, *arguments)


DESIRED = Desired(digest="d", essence="e", process_type=ProcessType.DOCUMENT, document_id=7)


def test_every_field_of_a_request_file_has_its_path() -> None:
    captured = CaptureOptions(
        process_type=ProcessType.DOCUMENT,
        redirect_url="https://shop.example/",
        ui_profile="p",
        language="nl",
        default_country="NLD",
        request_domain="d",
    )
    images = tuple(ImageRef(depiction=one, path="x.jpg", sha256="") for one in Depiction)
    each = [
        replace(DESIRED, images=images, labels=(("a", "b"),), rerun="r", claims_ttl=60.0),
        replace(DESIRED, document_id=None, document_type=DocumentKey("NLD", "passport")),
        replace(DESIRED, capture=captured),
    ]
    shown = {path for desired in each for path, _ in document_fields(desired)}
    known = {f"spec.{path}" for path in leaves("Spec")}
    assert shown == known | {"metadata.labels.a", "metadata.annotations.assure-agent/rerun"}
    assert {path for path in shown if is_personal(path)} == {
        "metadata.labels.a", "metadata.annotations.assure-agent/rerun", "spec.capture.redirectUrl",
        *(f"spec.upload.images.{one}" for one in Depiction),
    }  # fmt: skip


def leaves(name: str) -> list[str]:
    """The paths of the fields without fields of their own, below a part of the schema."""
    found: list[str] = []
    for key, field in request_schema()["$defs"][name]["properties"].items():
        reference = next((one["$ref"] for one in [field, *field.get("anyOf", ())] if "$ref" in one), "")
        part = reference.rpartition("/")[2]
        has_fields = part and "properties" in request_schema()["$defs"][part]
        found += [f"{key}.{below}" for below in leaves(part)] if has_fields else [key]
    return found


def test_a_document_that_differs_in_annotations_only() -> None:
    record = Record(uid="u", name="a", source="s", agent="t", desired=DESIRED)
    found = document_diff(record, replace(DESIRED, digest="other", file="a.yaml", line=1))
    assert found is not None
    assert [(field.path, field.new) for field in found.fields] == [("metadata.annotations", "(changed)")]
    assert document_diff(record, DESIRED) is None


def test_the_token_of_a_rerun_command_is_no_field_of_the_file() -> None:
    record = Record(uid="u", name="a", source="s", agent="t", desired=replace(DESIRED, rerun="command-1"))
    found = document_diff(record, replace(DESIRED, digest="other", suspend=True))
    assert found is not None
    assert [field.path for field in found.fields] == ["spec.suspend"]


def test_a_newer_document_that_waits_is_the_admitted_one() -> None:
    newer = replace(DESIRED, digest="newer", suspend=True)
    record = Record(uid="u", name="a", source="s", agent="t", desired=DESIRED, next=newer)
    assert document_diff(record, newer) is None
    found = document_diff(record, replace(newer, digest="other", retention=60.0))
    assert found is not None
    assert (found.generation, [field.path for field in found.fields]) == (2, ["spec.retention"])


def test_the_file_of_a_forgotten_request_is_new() -> None:
    record = Record(uid="u", name="", source="s", agent="t", desired=DESIRED)
    found = document_diff(record, replace(DESIRED, digest="other", file="a.yaml", line=1))
    assert found is not None
    assert (found.generation, {field.old for field in found.fields}) == (None, {None})


async def test_a_changed_file(world: World, state: Here) -> None:
    world.capture("a", labels={"person": "jane"})
    world.capture("b")
    await world.settle()
    assert (await said(state, "diff")).code == 0
    world.capture("a", labels={"person": "june"}, retention="1d")
    found = await said(state, "diff", "a")
    assert found.code == 2
    assert found.out.splitlines() == [
        "--- a (admitted, generation 1)",
        "+++ a (a.yaml:1)",
        "-metadata.labels.person: ***",
        "+metadata.labels.person: ***",
        "-spec.retention: 0s",
        "+spec.retention: 24h",
    ]
    personal = (await said(state, "diff", "--show-personal")).out
    assert personal == found.out.replace("person: ***", "person: jane", 1).replace("person: ***", "person: june", 1)
    (item,) = (await said(state, "diff", "-o", "json")).json["items"]
    assert item["fields"] == [
        {"path": "metadata.labels.person", "old": "***", "new": "***"},
        {"path": "spec.retention", "old": "0s", "new": "24h"},
    ]
    assert (await said(state, "diff", "b")).code == 0


async def test_a_terminal_shows_personal_values(world: World, state: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    world.capture("a", labels={"person": "jane"})
    await world.settle()
    world.capture("a", labels={"person": "june"})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "+metadata.labels.person: june" in (await said(state, "diff")).out
    assert "june" not in (await said(state, "plan", "-o", "markdown")).out


async def test_a_held_change_is_shown_until_it_is_resolved(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=9004)
    await world.settle()
    assert world.record("a").hold is not None
    found = await said(state, "diff")
    assert found.code == 2
    assert found.out.splitlines()[2:] == ["-spec.upload.documentId: 137", "+spec.upload.documentId: 9004"]
    assert (await said(state, "resolve", "a", "abandon")).code == 0
    assert "9004" in (await said(state, "diff")).out


async def test_new_and_removed_files(world: World, state: Here) -> None:
    path = world.capture("a", suspend=True)
    await world.settle()
    path.unlink()
    world.capture("b")
    out = (await said(state, "diff")).out
    assert "--- a (admitted, generation 1)\n+++ /dev/null\n-spec.processType: document\n" in out
    assert "--- /dev/null\n+++ b (b.yaml:1)\n+spec.processType: document\n" in out
    plan = await said(state, "plan")
    assert "/dev/null" not in plan.out


async def test_the_plan_shows_changed_fields_without_personal_values(world: World, state: Here) -> None:
    world.capture("a", labels={"person": "jane"})
    await world.settle()
    world.capture("a", labels={"person": "june"}, retention="1d")
    table = await said(state, "plan")
    assert table.code == 2
    for form in ("table", "markdown", "json"):
        out = (await said(state, "plan", "-o", form)).out
        assert "june" not in out
        assert "jane" not in out
    lines = (await said(state, "diff")).out
    assert lines in table.out
    assert f"```diff\n{lines}```" in (await said(state, "plan", "-o", "markdown")).out
    (change,) = (await said(state, "plan", "-o", "json")).json["changes"]
    assert change["fields"][1] == {"path": "spec.retention", "old": "0s", "new": "24h"}


async def test_an_unknown_name_and_a_refused_file(world: World, state: Here) -> None:
    world.capture("a")
    await world.settle()
    (await said(state, "diff", "x")).is_one_clear_error("no request named x")
    write(world.specs / "a.yaml", capture("a").replace("spec:", "spec:\n  nonsense: 1"))
    found = await said(state, "diff")
    assert found.code == 5
    assert "refused: a.yaml:" in found.err
    assert found.out == ""


def test_without_a_store_every_file_is_new(here: Here) -> None:
    write(here.folder / "specs/a.yaml", capture("a"))
    found = here("diff", "a")
    assert found.code == 2
    assert found.out.startswith("--- /dev/null\n+++ a (a.yaml:1)\n+")
    assert not (here.folder / "state").exists()
