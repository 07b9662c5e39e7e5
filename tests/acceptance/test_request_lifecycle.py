"""The main job: request files in, people verified, dossiers deleted. The ledger of the sandbox is the witness."""

import random
import time
from collections import Counter

import pytest

from agent.sandbox import CANARIES
from tests.acceptance.installed_command import NEVER, Office, picture
from tests.support.timeouts import PATIENT, eventually

OUTCOMES = ("accepted", "rejected", "inconclusive", "failed")


@pytest.mark.sandbox(delay="100ms-2s")
def test_120_mixed_requests_settle_and_leave_nothing_behind(office: Office) -> None:
    """[I1, I2, I3, I6] Right outcomes, one start each, no dossier, no field the contract does not know, no leak."""
    for number in range(120):
        office.upload(f"person-{number}", OUTCOMES[number % 4], selfie=number % 3 == 0)
    assert office.run("run", "--once") == 0

    items = {item["name"]: item for item in office.json("get")["items"]}
    assert items == office.items()  # other tests read the store in their own process
    assert {name: item["outcome"] for name, item in items.items()} == {
        f"person-{number}": OUTCOMES[number % 4] for number in range(120)
    }
    assert all(item["state"] == "done" for item in items.values())
    ledger = office.ledger()
    assert ledger["violations"] == []
    assert office.left_behind() == []
    assert all(dossier["resultRead"] for dossier in ledger["dossiers"])
    assert [process["starts"] for process in office.processes()] == [1] * 120
    assert all((process["minReadGap"] or 1.0) >= 1.0 for process in office.processes())

    before = sum(ledger["calls"].values())
    assert office.run("run", "--once") == 0
    assert sum(office.ledger()["calls"].values()) - before <= 3
    assert office.run("audit", "verify") == 0
    written = office.state_bytes()
    for canary in CANARIES:
        assert canary.encode() not in written
        assert canary not in office.output


@pytest.mark.parametrize(
    "office", [{"capture-process": "at-start"}, {"capture-process": "at-open"}], indirect=True, ids=str
)
def test_40_capture_flows_settle_both_ways_of_creating_the_process(office: Office) -> None:
    """[I2, I3] The process is found through Get dossier, whenever it is created."""
    for number in range(40):
        profile = "sandbox-outcome-" + (*OUTCOMES, "canceled")[number % 5]
        capture = {"redirectUrl": "https://shop.example/verified", "uiProfile": profile}
        office.write(f"person-{number}", processType="documentSelfie", capture=capture)
    assert office.run("run", "--once") == 0
    assert Counter(item["outcome"] for item in office.items().values()) == dict.fromkeys((*OUTCOMES, "canceled"), 8)
    assert office.left_behind() == []
    assert office.ledger()["violations"] == []


@pytest.mark.sandbox(delay="500ms-2s")
def test_twelve_kills_in_a_row_lose_nothing_and_start_nothing_twice(office: Office) -> None:
    """[I1, I2, I3, I4, I5] Fresh work before each start, SIGKILL at a random moment of it, then one `run --once`."""
    chance = random.Random(12)
    for number in range(12):
        for person in range(5):
            office.upload(f"person-{number}-{person}", OUTCOMES[person % 4])
        asked = sum(office.ledger()["calls"].values())
        with office.running() as process:
            eventually(lambda asked=asked: sum(office.ledger()["calls"].values()) > asked + 1)  # it is at work
            time.sleep(chance.uniform(0.0, 0.8))
            process.kill()
        office.let_lease_end()
    assert office.run("run", "--once", timeout=2 * PATIENT) == 0
    items = office.items()
    assert len(items) == 60
    assert all(item["state"] == "done" for item in items.values())
    assert office.left_behind() == []
    started = Counter(
        dossier["externalReference"].rsplit("-", 1)[0]
        for dossier in office.ledger()["dossiers"]
        for process in dossier["processes"]
        for _ in range(process["starts"])
    )
    assert len(started) == 60
    assert set(started.values()) == {1}
    assert office.run("audit", "verify") == 0


@pytest.mark.each_source
@pytest.mark.sandbox(delay="100ms")
def test_20_waiting_requests_are_started_once_for_any_file_change(office: Office) -> None:
    """[I2] Files are removed, changed, broken and restored: 20 starts. A mass removal withdraws nothing."""
    paths = [office.upload(f"person-{number}") for number in range(20)]
    good = {path: path.read_text() for path in paths}
    office.settings["POLL_INTERVAL"] = NEVER
    with office.running():
        eventually(lambda: sum(process["starts"] for process in office.processes()) == 20)
        for path in paths[:3]:
            path.write_text("{ broken")
        for path in paths[3:6]:
            path.write_text(good[path].replace("137", "138"))
        for path in paths[6:]:
            path.unlink()
        office.source.publish()
        eventually(lambda: sum(item["state"] == "held" for item in office.seen().values()) == 3)
        office.scans()  # the mass removal must have no effect in them
        assert not any(item["outcome"] == "withdrawn" for item in office.seen().values())
        for path in paths:
            path.write_text(good[path])
        office.source.publish()
        eventually(lambda: not any(item["state"] == "held" for item in office.seen().values()))
    del office.settings["POLL_INTERVAL"]
    assert office.run("run", "--once") == 0
    assert {item["outcome"] for item in office.items().values()} == {"accepted"}
    assert sum(process["starts"] for process in office.processes()) == 20
    assert office.left_behind() == []


@pytest.mark.each_source
def test_a_refused_request_creates_nothing_and_the_others_continue(office: Office) -> None:
    """[I9] Malformed, duplicate and image faults, each with a place and what to try; exit code 5."""
    office.upload("good")
    office.write("no-image", processType="document", upload={"documentId": 137, "images": {"front": "nowhere.jpg"}})
    (office.folder / "images" / "text.jpg").write_text("not a picture")
    office.write("no-picture", processType="document", upload={"documentId": 137, "images": {"front": "text.jpg"}})
    (office.folder / "images" / "link.jpg").symlink_to("/etc/hostname")
    office.write("outside", processType="document", upload={"documentId": 137, "images": {"front": "link.jpg"}})
    (office.source.specs / "deep.yaml").write_text("[" * 100_000)
    (office.source.specs / "broken.yaml").write_text("apiVersion: assure-agent/v1\nkind: [")
    office.upload("twin").rename(office.source.specs / "twin-1.yaml")
    office.upload("twin")
    assert office.run("run", "--once") == 5
    shown = office.json("get")
    assert [item["name"] for item in shown["items"]] == ["good"]
    assert {refusal["file"] for refusal in shown["refused"]} == {
        "no-image.yaml", "no-picture.yaml", "outside.yaml", "deep.yaml", "broken.yaml", "twin.yaml", "twin-1.yaml",
    }  # fmt: skip
    assert all(refusal["line"] >= 1 and refusal["hint"] for refusal in shown["refused"])
    assert len(office.ledger()["dossiers"]) == 1


def test_a_two_page_document_without_a_back_image_is_held_before_anything_is_billed(office: Office) -> None:
    """documentPages 2 (contract §6); the deadline clears the dossier later."""
    front = picture(office.folder / "images", "accepted")
    office.write("card", processType="document", upload={"documentId": 9001, "images": {"front": front}})
    assert office.run("run", "--once") == 3
    assert office.items()["card"]["reason"] == "back-image-required"
    assert [process["starts"] for process in office.processes()] == [0]
