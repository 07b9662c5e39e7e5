"""The sync: the effects of a scan on the records (design §3, §8)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.assure_types import DocumentKey, DocumentType
from agent.core.record import Outcome, Phase
from tests.controller.controller_harness import ControllerHarness, desk_at
from verification.audits import verified
from verification.builders.pictures import jpeg
from verification.builders.request_files import capture, upload, write


@pytest.fixture
async def desk(folder: Path) -> AsyncIterator[ControllerHarness]:
    async with desk_at(folder) as desk:
        yield desk
        assert not verified(desk.store.path).findings


# -- document types ------------------------------------------------------------------------------------------------


def typed(desk: ControllerHarness, name: str, country: str = "NLD", **more: Any) -> None:
    path = desk.upload(name, **more)
    wanted = f"documentType: {{country: {country}, type: passport}}"
    path.write_text(path.read_text().replace("documentId: 137", wanted))


async def test_a_document_type_is_admitted_with_its_id_and_not_requested_again(desk: ControllerHarness) -> None:
    desk.types.rows = (DocumentType(id=137, country="NLD", type="passport"),)
    typed(desk, "a")
    typed(desk, "b")
    await desk.scan()
    desired = desk.record("a").desired
    assert (desired.document_id, desired.document_type) == (137, DocumentKey("NLD", "passport"))
    await desk.scan()
    desk.restart()
    await desk.scan()
    assert desk.types.asked == [DocumentKey("NLD", "passport")]


async def test_without_the_list_the_last_good_document_stays_and_others_are_admitted(desk: ControllerHarness) -> None:
    """[I9]"""
    desk.upload("a")
    await desk.scan()
    desk.types.rows = None
    typed(desk, "a")
    desk.upload("b")
    (refused,) = (await desk.scan()).refusals
    assert "does not provide the list" in refused.message
    assert desk.record("a").desired.document_type is None
    assert desk.find("b") is not None
    desk.types.rows = (DocumentType(id=138, country="NLD", type="passport"),)
    assert (await desk.scan()).refusals == ()
    assert (desk.record("a").generation, desk.record("a").desired.document_id) == (2, 138)


async def test_a_request_that_changes_in_place_keeps_the_admitted_id(desk: ControllerHarness) -> None:
    desk.types.rows = (DocumentType(id=137, country="NLD", type="passport"),)
    typed(desk, "a")
    await desk.scan()
    desk.types.rows = (DocumentType(id=138, country="NLD", type="passport"),)
    typed(desk, "a", labels={"team": "risk"})
    await desk.scan()
    record = desk.record("a")
    assert (record.generation, record.desired.document_id, record.desired.labels) == (1, 137, (("team", "risk"),))
    assert len(desk.types.asked) == 1


async def test_a_missing_type_and_a_missing_image_are_reported_together(desk: ControllerHarness) -> None:
    typed(desk, "a", "DEU")
    (desk.images / "a/front.jpg").unlink()
    messages = [fault.message for fault in (await desk.scan()).refusals]
    assert len(messages) == 2
    assert any("no document type DEU passport" in message for message in messages)


# -- add, change, rename -------------------------------------------------------------------------------------------


async def test_a_new_file_is_admitted_with_its_generation_and_its_image_digests(desk: ControllerHarness) -> None:
    """[I1]"""
    desk.upload("a", labels={"team": "onboarding"})
    synced = await desk.scan()
    record = desk.record("a")
    assert (synced.scan.files, synced.refusals, synced.scan.complete) == (1, (), True)
    assert (record.generation, record.phase, record.desired.file) == (1, Phase.DOSSIER, "a.yaml")
    assert [image.path for image in record.desired.images] == ["a/front.jpg"]
    assert record.desired.labels == (("team", "onboarding"),)
    assert record.due_at is not None


async def test_a_second_scan_of_the_same_folder_changes_nothing(desk: ControllerHarness) -> None:
    desk.upload("a")
    await desk.scan()
    before = desk.record("a")
    await desk.scan(3)
    desk.restart()
    await desk.scan(2)
    assert desk.record("a") == before
    assert len(desk.steps) == 1


async def test_a_changed_file_is_a_new_generation(desk: ControllerHarness) -> None:
    desk.upload("a")
    await desk.scan()
    desk.upload("a", document_id=138)
    await desk.scan()
    record = desk.record("a")
    assert (record.generation, record.desired.document_id) == (2, 138)


@pytest.mark.parametrize(
    "change",
    [{"labels": {"team": "risk"}}, {"retention": "5m"}, {"deadline": "3h"}, {"suspend": True}],
    ids=["labels", "retention", "deadline", "suspend"],
)
async def test_a_request_that_may_change_in_place_keeps_the_generation(
    desk: ControllerHarness, change: dict[str, object]
) -> None:
    desk.upload("a")
    await desk.scan()
    before = desk.record("a").desired
    desk.upload("a", **change)
    await desk.scan()
    record = desk.record("a")
    assert record.generation == 1
    assert record.desired != before
    assert record.desired.images == before.images


async def test_a_comment_or_another_order_of_fields_changes_nothing(desk: ControllerHarness) -> None:
    path = desk.upload("a")
    await desk.scan()
    before = desk.record("a")
    path.write_text("# a comment\n" + path.read_text())
    await desk.scan()
    assert desk.record("a").generation == 1
    assert desk.record("a").desired.digest == before.desired.digest


async def test_a_renamed_file_starts_nothing_and_withdraws_nothing(desk: ControllerHarness) -> None:
    """[I2]"""
    desk.upload("a")
    desk.upload("b")
    await desk.scan()
    (desk.specs / "a.yaml").rename(desk.specs / "elsewhere.yaml")
    await desk.scan(3)
    record = desk.record("a")
    assert (record.generation, record.present, record.outcome) == (1, True, None)
    assert record.desired.file == "elsewhere.yaml"


async def test_several_documents_in_a_file_are_several_requests(desk: ControllerHarness) -> None:
    write(desk.images / "f.jpg", jpeg())
    write(desk.specs / "all.yaml", "---\n".join(upload(name, {"front": "f.jpg"}) for name in ("a", "b", "c")))
    synced = await desk.scan()
    assert synced.scan.files == 1
    assert [desk.record(name).name for name in ("a", "b", "c")] == ["a", "b", "c"]


async def test_documents_that_share_a_name_are_refused_and_the_admitted_one_continues(desk: ControllerHarness) -> None:
    """[I9]"""
    desk.upload("a")
    desk.upload("b")
    await desk.scan()
    before = desk.record("a")
    desk.upload("a", file="again.yaml", document_id=138)
    synced = await desk.scan(3)
    assert {fault.name for fault in synced.refusals} == {"a"}
    assert {fault.file for fault in synced.refusals} == {"a.yaml", "again.yaml"}
    assert desk.record("a") == before


# -- what is broken ------------------------------------------------------------------------------------------------


async def test_a_broken_file_keeps_its_last_good_generation(desk: ControllerHarness) -> None:
    """[I9]"""
    path = desk.upload("a")
    desk.upload("b")
    await desk.scan()
    before = desk.record("a")
    path.write_text("apiVersion: [")
    synced = await desk.scan(4)
    assert len(synced.refusals) == 1
    assert desk.record("a") == before
    desk.restart()  # and after a restart, when the earlier content of the file is forgotten
    await desk.scan(4)
    assert desk.record("a") == before


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("place", ["outside", "nowhere", "emptied"])
async def test_a_request_that_is_behind_a_link_or_in_a_cut_file_is_not_withdrawn(
    desk: ControllerHarness, restarted: bool, place: str
) -> None:
    """[I1] Only a completely read folder proves an absence."""
    (desk.specs / "team").mkdir()
    for name in "ab":
        desk.upload(name).rename(desk.specs / f"team/{name}.yaml")
    await desk.scan()
    if place == "emptied":
        for name in "ab":
            (desk.specs / f"team/{name}.yaml").write_text("")
    else:
        elsewhere = desk.specs.with_name("elsewhere")
        (desk.specs / "team").rename(elsewhere)
        (desk.specs / "team").symlink_to(elsewhere if place == "outside" else "nothing")
    if restarted:
        desk.restart()
    for _ in range(3):
        synced = await desk.scan()
    assert synced.refusals
    assert synced.waiting == 0
    assert all(desk.record(name).outcome is None for name in "ab")
    assert all(desk.record(name).present for name in "ab")


async def test_a_broken_file_does_not_delay_other_files(desk: ControllerHarness) -> None:
    """[I9]"""
    write(desk.specs / "broken.yaml", "a: 1\na: 2\n")
    write(desk.specs / "typo.yaml", upload("typo", {"front": "typo.jpg"}).replace("processType", "proccessType"))
    desk.upload("a")
    synced = await desk.scan()
    assert desk.find("a") is not None
    assert {fault.file for fault in synced.refusals} == {"broken.yaml", "typo.yaml"}
    assert all(fault.line > 0 and fault.hint for fault in synced.refusals)


async def test_a_corrected_file_is_admitted_again(desk: ControllerHarness) -> None:
    path = desk.upload("a")
    await desk.scan()
    path.write_text("nonsense")
    await desk.scan(2)
    desk.upload("a", document_id=138)
    synced = await desk.scan()
    assert synced.refusals == ()
    assert desk.record("a").desired.document_id == 138


async def test_image_faults_are_checked_again_at_each_scan(desk: ControllerHarness) -> None:
    """[I1] The request file need not change: the image may come later."""
    path = desk.upload("a")
    (desk.images / "a/front.jpg").unlink()
    synced = await desk.scan(2)
    assert desk.find("a") is None
    assert [(fault.file, fault.name) for fault in synced.refusals] == [("a.yaml", "a")]
    assert synced.refusals[0].line == 1 + path.read_text().splitlines().index("      front: a/front.jpg")
    write(desk.images / "a/front.jpg", b"neither jpg nor png")
    assert len((await desk.scan()).refusals) == 1
    write(desk.images / "a/front.jpg", jpeg())
    assert (await desk.scan()).refusals == ()
    assert desk.record("a").generation == 1


async def test_a_changed_document_with_a_broken_image_keeps_the_last_good_generation(desk: ControllerHarness) -> None:
    desk.upload("a")
    await desk.scan()
    before = desk.record("a")
    write(desk.specs / "a.yaml", upload("a", {"front": "a/other.jpg"}))
    synced = await desk.scan(3)
    assert len(synced.refusals) == 1
    assert desk.record("a") == before
    write(desk.images / "a/other.jpg", jpeg("other"))
    await desk.scan()
    assert desk.record("a").generation == 2


async def test_an_image_path_that_leads_out_through_a_link_is_refused(desk: ControllerHarness, folder: Path) -> None:
    """[I6]"""
    desk.upload("a")
    write(folder / "secret.jpg", jpeg())
    (desk.images / "a/front.jpg").unlink()
    (desk.images / "a/front.jpg").symlink_to(folder / "secret.jpg")
    assert len((await desk.scan()).refusals) == 1
    assert desk.find("a") is None


@pytest.mark.parametrize(("host", "admitted"), [("shop.example", True), ("evil.example", False)])
async def test_only_hosts_in_redirect_hosts_may_be_redirected_to(folder: Path, host: str, admitted: bool) -> None:
    async with desk_at(folder, frozenset({"shop.example"})) as desk:
        desk.capture("a", capture={"redirectUrl": f"https://{host}/done"})
        synced = await desk.scan()
        assert (desk.find("a") is not None) is admitted
        assert ["REDIRECT_HOSTS" in fault.message for fault in synced.refusals] == ([] if admitted else [True])


async def test_a_forbidden_redirect_keeps_the_last_good_generation(folder: Path) -> None:
    async with desk_at(folder, frozenset({"shop.example"})) as desk:
        desk.capture("a")
        await desk.scan()
        before = desk.record("a")
        desk.capture("a", capture={"redirectUrl": "https://evil.example/done"})
        assert len((await desk.scan(3)).refusals) == 1
        assert desk.record("a") == before


# -- what is absent ------------------------------------------------------------------------------------------------


async def test_a_removed_file_is_withdrawn_at_the_second_complete_scan(desk: ControllerHarness) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    path.unlink()
    assert (await desk.scan()).absent == 1
    assert desk.outcomes("a") == [None]
    await desk.scan()
    record = desk.record("a")
    assert (record.outcome, record.phase, record.present) == (Outcome.WITHDRAWN, Phase.DONE, False)
    assert desk.outcomes("b") == [None]


async def test_a_name_that_returns_before_the_second_scan_is_not_withdrawn(desk: ControllerHarness) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    text = path.read_text()
    for _ in range(3):
        path.unlink()
        await desk.scan()
        path.write_text(text)
        await desk.scan()
    record = desk.record("a")
    assert (record.generation, record.outcome, record.present) == (1, None, True)


async def test_a_withdrawn_request_that_returns_begins_a_new_generation(desk: ControllerHarness) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    text = path.read_text()
    path.unlink()
    await desk.scan(2)
    path.write_text(text)
    await desk.scan()
    record = desk.record("a")
    assert (record.generation, record.outcome, record.present) == (2, None, True)


async def test_a_removal_while_the_agent_was_away_is_seen_after_its_restart(desk: ControllerHarness) -> None:
    """[I1]"""
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    path.unlink()
    desk.restart()
    await desk.scan(2)
    assert desk.outcomes("a", "b") == [Outcome.WITHDRAWN, None]


async def test_few_removals_need_no_approval(desk: ControllerHarness) -> None:
    names = [f"a-{number}" for number in range(6)]
    paths = [desk.upload(name) for name in names]
    await desk.scan()
    for path in paths[:3]:
        path.unlink()
    synced = await desk.scan(2)
    assert synced.waiting == 0
    assert desk.outcomes(*names) == [Outcome.WITHDRAWN] * 3 + [None] * 3


async def test_many_removals_wait_for_an_approval(desk: ControllerHarness) -> None:
    """More than max(3, 20 %) in an hour."""
    names = [f"a-{number}" for number in range(6)]
    paths = [desk.upload(name) for name in names]
    await desk.scan()
    for path in paths[:4]:
        path.unlink()
    synced = await desk.scan(5)
    assert synced.waiting == 4
    assert desk.outcomes(*names) == [None] * 6
    for name, path in zip(names, paths, strict=True):
        desk.upload(name, file=path.name)
    assert (await desk.scan(2)).waiting == 0
    assert [desk.record(name).generation for name in names] == [1] * 6


async def test_removals_one_by_one_are_counted_over_the_hour(desk: ControllerHarness) -> None:
    paths = [desk.upload(f"a-{number}") for number in range(6)]
    await desk.scan()
    waiting = []
    for path in paths[:4]:
        path.unlink()
        waiting.append((await desk.scan(2)).waiting)
    assert waiting == [0, 0, 0, 1]
    desk.clock.skip(3_601)
    assert (await desk.scan()).waiting == 0
    assert desk.record("a-3").outcome is Outcome.WITHDRAWN


async def test_removals_that_were_reverted_count_for_the_hour(desk: ControllerHarness) -> None:
    """The prune guard also stops removals of a few files at a time that are reverted in between."""
    paths = [desk.upload(f"a-{number}") for number in range(6)]
    await desk.scan()
    waiting = []
    for path in paths[:4]:
        text = path.read_text()
        path.unlink()
        waiting.append((await desk.scan(2)).waiting)
        path.write_text(text)
        await desk.scan()
    assert waiting == [0, 0, 0, 1]
    assert [desk.record(f"a-{number}").generation for number in range(6)] == [2, 2, 2, 1, 1, 1]


async def test_a_fifth_of_a_large_source_may_go(desk: ControllerHarness) -> None:
    write(desk.images / "f.jpg", jpeg())
    paths = [write(desk.specs / f"{n}.yaml", upload(f"a-{n}", {"front": "f.jpg"})) for n in range(40)]
    await desk.scan()
    for path in paths[:8]:
        path.unlink()
    assert (await desk.scan(2)).waiting == 0
    assert desk.outcomes(*(f"a-{n}" for n in range(9))) == [Outcome.WITHDRAWN] * 8 + [None]


async def test_an_emptied_folder_waits_for_approval_even_with_few_requests(desk: ControllerHarness) -> None:
    path = desk.upload("a")
    await desk.scan()
    path.unlink()
    assert (await desk.scan(4)).waiting == 1
    assert desk.outcomes("a") == [None]


async def test_a_missing_folder_withdraws_nothing_and_is_reported(desk: ControllerHarness) -> None:
    desk.upload("a")
    await desk.scan()
    desk.specs.rename(desk.folder / "away")
    synced = await desk.scan(4)
    assert synced.scan.error is not None
    assert synced.scan.error.hint
    assert not synced.scan.complete
    assert desk.outcomes("a") == [None]
    (desk.folder / "away").rename(desk.specs)
    assert (await desk.scan(2)).refusals == ()
    assert desk.record("a").generation == 1


async def test_a_replaced_source_folder_waits_for_an_approval(desk: ControllerHarness) -> None:
    desk.upload("a")
    desk.upload("b")
    await desk.scan()
    desk.specs.rename(desk.folder / "away")
    desk.upload("c")
    synced = await desk.scan(4)
    assert synced.waiting == 2
    assert desk.outcomes("a", "b", "c") == [None] * 3


async def test_a_link_that_git_sync_swaps_is_not_a_replaced_folder(desk: ControllerHarness) -> None:
    desk.specs.rmdir()
    for checkout in ("one", "two"):
        write(desk.folder / checkout / "b.yaml", capture("b"))
    write(desk.folder / "one" / "a.yaml", capture("a"))
    desk.specs.symlink_to(desk.folder / "one")
    await desk.scan()
    desk.specs.unlink()
    desk.specs.symlink_to(desk.folder / "two")
    assert (await desk.scan(2)).waiting == 0
    assert desk.outcomes("a", "b") == [Outcome.WITHDRAWN, None]
    assert desk.record("b").generation == 1


async def test_a_folder_that_was_replaced_while_the_agent_was_down_waits_for_approval(desk: ControllerHarness) -> None:
    desk.upload("a")
    desk.upload("b")
    await desk.scan()
    desk.specs.rename(desk.folder / "away")
    desk.upload("c")
    desk.restart()
    assert (await desk.scan(4)).waiting == 2
    assert desk.outcomes("a", "b") == [None, None]
