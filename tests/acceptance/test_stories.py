"""Stories of a team that works with git: a bare repository and the agent, which reads a clone or fetches itself."""

import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from grafana.prometheus_server import free_port
from tests.acceptance.installed_command import Office, picture
from tests.acceptance.sources import Checkout, Folder, Repository
from tests.support.git import git
from tests.support.timeouts import eventually
from verification.builders.request_files import upload, write

pytestmark = pytest.mark.each_source


class Team:
    """Authors with their own clone of a bare repository. The agent reads another clone, or fetches the repository."""

    def __init__(self, office: Office, source: Folder | Repository) -> None:
        self.office = office
        self.repository = office.source = source if isinstance(source, Repository) else Checkout(office.folder)
        self.desk, self.publish = self.repository.desk, self.repository.publish

    def write(self, name: str, outcome: str = "accepted", **annotations: str) -> Path:
        images = {"front": picture(self.office.folder / "images", outcome)}
        return write(self.repository.specs / f"{name}.yaml", upload(name, images, annotations=annotations))

    def until(self, condition: Callable[[dict[str, dict[str, object]]], bool]) -> None:
        eventually(lambda: condition(self.office.seen()), self.office.seen)


@pytest.fixture
def team(office: Office, source: Folder | Repository) -> Team:
    return Team(office, source)


def starts(office: Office) -> int:
    return sum(process["starts"] for process in office.processes())


@pytest.mark.sandbox(delay="100ms")
def test_a_merge_of_three_a_revert_and_the_revert_of_the_revert(team: Team) -> None:
    """[I2, I3] Three people are verified once; removing and restoring the files starts nothing."""
    for name in ("anna", "bert", "cleo"):
        team.write(name)
    with team.office.running():
        team.publish("Verify three people")
        team.until(lambda items: len(items) == 3 and all(item["state"] == "done" for item in items.values()))
        git(team.desk, "revert", "--no-edit", "HEAD")
        git(team.desk, "revert", "--no-edit", "HEAD")
        team.repository.push()
        team.office.scans()
    assert {item["outcome"] for item in team.office.items().values()} == {"accepted"}
    assert starts(team.office) == 3
    assert team.office.left_behind() == []


@pytest.mark.sandbox(delay="100ms")
def test_a_rename_of_the_folder_changes_nothing(team: Team) -> None:
    """[I2] A name is a name, wherever its file is."""
    for name in ("anna", "bert"):
        team.write(name)
    with team.office.running():
        team.publish("Verify two people")
        team.until(lambda items: len(items) == 2 and all(item["state"] == "done" for item in items.values()))
        git(team.desk, "mv", "specs", "moved")
        (team.desk / "specs").mkdir()
        git(team.desk, "mv", "moved", "specs/2026")
        team.publish("Sort by year")
        team.office.scans()
    assert {item["outcome"] for item in team.office.items().values()} == {"accepted"}
    assert starts(team.office) == 2


@pytest.mark.sandbox(delay="60s")
def test_a_merge_that_deletes_half_waits_for_an_approval(team: Team) -> None:
    """[I3] Nothing is withdrawn by itself; `approve` lets it through, and the dossiers are deleted."""
    for number in range(10):
        team.write(f"person-{number}")
    with team.office.running():
        team.publish("Verify ten people")
        team.until(lambda items: sum(item["phase"] == "result" for item in items.values()) == 10)
        for number in range(5):
            (team.desk / "specs" / f"person-{number}.yaml").unlink()
        team.publish("Clean up")
        team.office.scans()
        assert not any(item["outcome"] for item in team.office.items().values())
        assert team.office.run("approve", "--yes") == 0
        team.until(lambda items: sum(item["outcome"] == "withdrawn" for item in items.values()) == 5)
        team.until(lambda items: sum(item["state"] == "done" for item in items.values()) == 5)
    assert len(team.office.left_behind()) == 5


@pytest.mark.sandbox(delay="50ms")
def test_a_merge_of_five_hundred_against_a_budget_of_a_hundred(team: Team) -> None:
    """[I1, I3] A hundred are started; the others wait in line, have nothing at Assure, and do not expire."""
    office = team.office
    for number in range(500):
        team.write(f"person-{number:04}")
    team.publish("Verify five hundred people")
    office.settings |= {"MAX_STARTS_PER_DAY": "100", "LISTEN": f"127.0.0.1:{free_port()}"}
    office.settings["LOG_LEVEL"] = "warning"  # short output
    with office.running():
        eventually(lambda: sum(row["deletedAt"] is not None for row in office.ledger()["dossiers"]) == 100)
        team.until(lambda items: sum(item["state"] == "waiting" for item in items.values()) == 400)
        with urllib.request.urlopen(f"http://{office.settings['LISTEN']}/metrics") as answer:
            metrics = answer.read().decode().splitlines()
    assert 'assure_agent_requests{phase="dossier",state="waiting"} 400.0' in metrics
    assert "assure_agent_start_budget_remaining 0.0" in metrics
    items = office.items()
    assert Counter(item["outcome"] for item in items.values()) == {"accepted": 100, None: 400}
    assert all(item["dossierId"] is None for item in items.values() if item["outcome"] is None)
    plan = office.plan()
    assert (plan["budgetLeft"], plan["starts"]) == (0, 400)
    assert sum("waiting for the start budget" in change["reason"] for change in plan["changes"]) == 400
    assert starts(office) == len(office.ledger()["dossiers"]) == 100


@pytest.mark.sandbox(delay="100ms")
def test_a_hold_is_resolved_from_git(team: Team) -> None:
    """[I2] The changed document is verified once a person says so in the file."""
    team.write("anna")
    with team.office.running():
        team.publish("Verify Anna")
        team.until(lambda items: "anna" in items and items["anna"]["state"] == "done")
        team.write("anna", "rejected")
        team.publish("Another picture of Anna")
        team.until(lambda items: items["anna"]["reason"] == "changed-after-start")
        hold = team.office.seen()["anna"]["holdId"]
        team.write("anna", "rejected", **{"assure-agent/resolve": f"retry@{hold}"})
        team.publish("Yes, verify Anna again")
        team.until(lambda items: items["anna"]["outcome"] == "rejected" and items["anna"]["state"] == "done")
    assert starts(team.office) == 2
    assert team.office.left_behind() == []


@pytest.mark.sandbox(delay="100ms")
def test_a_typo_on_friday_is_repaired_on_monday(team: Team) -> None:
    """[I9] The typo is refused with its line, the other requests continue, and the repair is admitted."""
    team.write("anna")
    broken = team.write("bert")
    good = broken.read_text()
    broken.write_text(good.replace("processType", "proccessType"))
    with team.office.running():
        team.publish("Verify Anna and Bert")
        team.until(lambda items: "anna" in items and items["anna"]["state"] == "done")
        (refusal, *_) = team.office.json("get")["refused"]
        assert (refusal["file"], refusal["line"]) == ("bert.yaml", 6)
        assert "processType" in refusal["hint"]
        broken.write_text(good)
        team.publish("Mend a typo")
        team.until(lambda items: "bert" in items and items["bert"]["state"] == "done")
    assert starts(team.office) == 2
