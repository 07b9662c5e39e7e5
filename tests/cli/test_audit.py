"""`audit log|verify|query|export|certificate` on the store of a small office."""

import asyncio
import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.record import Phase
from agent.store.audit.checkpoints import checkpoint_path
from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.store import SqliteStore
from tests.cli.command_runner import Here
from tests.support.environment import World, crowd
from tests.support.faults import rule
from tests.support.fixtures import Begin, begin, world
from tests.support.git import commit, repository
from verification.builders.lives import Life
from verification.builders.records import ORIGIN, upload
from verification.builders.request_files import write

__all__ = ["begin", "world"]

DAY = "2027-01-15"


@pytest.fixture
def state(world: World, here: Here) -> Here:
    """A command that reads the store of the world."""
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    return here


def ask(state: Here, *arguments: str) -> list[dict[str, object]]:
    """The rows of a query."""
    said = state("audit", "query", *arguments, "-o", "json")
    assert said.code == 0, said
    return said.json["items"]  # type: ignore[no-any-return]


async def forgotten(world: World, state: Here, name: str) -> None:
    """A request that was settled, removed and forgotten."""
    (world.specs / f"{name}.yaml").unlink()
    await world.settle()
    said = await asyncio.to_thread(state, "forget", "--yes", name)
    assert said.code == 0, said


# -- log ---------------------------------------------------------------------------------------------------------------


async def test_the_log_lists_every_event_and_assures_answers(world: World, state: Here) -> None:
    world.upload("a", "sandbox-outcome=rejected")
    await world.settle()
    record = world.record("a")
    text = state("audit", "log", "a").out
    first, head, *lines = text.splitlines()
    assert first == f"a, uid {record.uid}"
    assert head.split() == ["SEQ", "TIME", "OBSERVED", "ANSWER", "CHANGED"]
    assert len(lines) == len(world.history("a"))
    assert f"{DAY}T" in lines[0]
    assert "dossier created" in text
    assert "1 done 201" in text
    assert "outcome rejected" in text
    (item,) = state("audit", "log", "a", "-o", "json").json["items"]
    assert [event["type"] for event in item["events"]] == world.history("a")
    created = next(event for event in item["events"] if event["type"] == "DossierCreated")
    assert created["call"] == {
        "number": 1,
        "effect": "create_dossier",
        "result": "done",
        "status": 201,
        "trouble": None,
        "traceId": created["call"]["traceId"],
        "words": None,
    }
    assert created["changes"]["dossierId"] == record.dossier_id
    assert state("audit", "log", record.uid).out == text


async def test_a_call_without_an_answer_is_unknown(world: World, state: Here) -> None:
    world.sandbox.faults.add([rule("setImages", "reset-before")])
    world.upload("a")
    await world.settle()
    unknown = ask(state, "unknown-answers")
    assert [row["result"] for row in unknown] == ["unknown"] * len(unknown)
    said = state("audit", "log", "a").out
    for row in unknown:
        assert f"{row['number']} unknown" in said


async def test_a_forgotten_request_is_found_by_its_name_or_uid(world: World, state: Here) -> None:
    """[I6]"""
    world.upload("a")
    await world.settle()
    uid = world.record("a").uid
    world.upload("a", document_id=138)
    await world.settle()
    assert (await asyncio.to_thread(state, "resolve", "a", "abandon")).code == 0
    await forgotten(world, state, "a")
    assert world.rows("SELECT answer FROM commands WHERE verb = 'resolve'") == [("",)]  # the answer contained the name
    for asked in ("a", uid):
        first, *_ = state("audit", "log", asked).out.splitlines()
        assert first == f"a request whose name was forgotten, uid {uid}"
    said = state("audit", "certificate", "a")
    assert said.code == 0
    assert f"(its name was erased), uid {uid}" in said.out
    (row,) = ask(state, "who-asked", f"name={uid}")
    assert (row["name"], row["outcome"]) == (None, "accepted")
    assert state("audit", "verify").code == 0


@pytest.mark.parametrize("command", ["log", "certificate", "export"])
async def test_an_unknown_name_is_one_clear_error(world: World, state: Here, command: str) -> None:
    world.upload("a")
    await world.settle()
    state("audit", command, "unknown").is_one_clear_error("There is no request named unknown")


@pytest.mark.parametrize(
    "words",
    [
        ("log", "a"),
        ("verify",),
        ("query", "operator-commands"),
        ("export",),
        ("certificate", "a"),
        ("query", "--sql", "SELECT 1"),
    ],
    ids=["log", "verify", "named query", "export", "certificate", "sql"],
)
def test_without_a_store_there_is_one_clear_error(here: Here, words: tuple[str, ...]) -> None:
    here("audit", *words).is_one_clear_error("There is no state file")


# -- query -------------------------------------------------------------------------------------------------------------


async def test_who_asked_names_author_commit_and_times(begin: Begin, state: Here, folder: Path) -> None:
    """[I5]"""
    world = await begin()
    world.specs.rmdir()
    clone = repository(folder / "git")
    world.specs.symlink_to(clone)
    world.upload("a")
    first = commit(clone, by="Ann Author")
    await world.settle()
    world.upload("a", annotations={"assure-agent/rerun": "again"})
    await world.settle()
    rows = ask(state, "who-asked", "name=a")
    assert [(row["generation"], row["author"], row["commit"], row["file_differed"]) for row in rows] == [
        (1, "Ann Author", first, 0),
        (2, "Ann Author", first, 1),
    ]
    assert all(row["asked"] <= row["billed"] < row["decided"] and row["outcome"] == "accepted" for row in rows)  # type: ignore[operator]


async def test_who_asked_and_the_certificate_name_the_signer(world: World, state: Here) -> None:
    """[I5]"""
    world.state.parent.mkdir(exist_ok=True)
    store = SqliteStore(world.state, None)
    life = Life("u1", upload(file="a.yaml", origin=ORIGIN), name="a").until(Phase.DONE)
    for step in life.steps:
        await store.commit([step])
    store.close()
    (row,) = ask(state, "who-asked", "name=a")
    assert (row["signed_by"], row["file_commit"], row["author"]) == (ORIGIN.signer, ORIGIN.file_commit, ORIGIN.author)
    sentence = f"Commit {ORIGIN.file_commit}, signed by {ORIGIN.signer}, requested generation 1."
    assert sentence in state("audit", "certificate", "a").out.splitlines()
    (item,) = state("audit", "certificate", "a", "-o", "json").json["items"]
    assert item["signed"] == [{"generation": 1, "fileCommit": ORIGIN.file_commit, "signedBy": ORIGIN.signer}]
    (log,) = state("audit", "log", "a", "-o", "json").json["items"]
    digest = log["events"][0]["changes"]["originDigests"]["1"]
    assert f"originDigest of generation 1 {digest}" in state("audit", "log", "a").out


async def test_deletions_lists_every_deletion_with_its_delay(world: World, state: Here) -> None:
    """[I3]"""
    world.upload("a")
    world.upload("b", retention="1h")
    await world.settle()
    entries = {row["name"]: row for row in ask(state, "deletions")}
    gone, kept = entries["a"], entries["b"]
    assert gone["dossier_id"] == world.record("a").dossier_id
    assert gone["deletion_due"] <= gone["deleted"] <= gone["confirmed_gone"]  # type: ignore[operator]
    assert 0 <= gone["delay_seconds"] < 60  # type: ignore[operator]
    assert (kept["deletion_due"] is not None, kept["deleted"], kept["confirmed_gone"]) == (True, None, None)


async def test_dossiers_that_outlive_their_retention_are_named(world: World, state: Here) -> None:
    """Deleted dossiers are included. The clock of the world is years ahead of SQLite's."""
    world.sandbox.faults.add([rule("deleteDossier", "500", acts=False, nth=None, count=6, every=1)])
    world.upload("late")
    await world.settle()
    assert ask(state, "retention-breaches", "allowed=1000000") == []
    (row,) = ask(state, "retention-breaches", "allowed=5")
    assert (row["name"], row["dossier_id"]) == ("late", world.record("late").dossier_id)
    assert row["overdue_seconds"] > 5  # type: ignore[operator]


async def test_time_per_phase_and_starts_and_outcomes(world: World, state: Here) -> None:
    world.upload("a", labels={"team": "one"})
    world.upload("b", "sandbox-outcome=rejected", labels={"team": "two"})
    world.capture("c")
    await world.settle()
    phases = {row["phase"]: row for row in ask(state, "phase-times")}
    assert list(phases) == [phase for phase in Phase if phase is not Phase.DONE]
    assert [phases["result"]["passages"], phases["images"]["passages"]] == [3, 2]
    assert phases["result"]["p50"] <= phases["result"]["p99"] <= phases["result"]["longest"]  # type: ignore[operator]
    starts = [(row["day"], row["mode"], row["starts"], row["requests"]) for row in ask(state, "starts-per-day")]
    assert starts == [(DAY, "capture", 1, 1), (DAY, "upload", 2, 2)]
    mix = [(row["value"], row["outcome"], row["requests"]) for row in ask(state, "outcomes-by-label", "label=team")]
    assert mix == [("(none)", "accepted", 1), ("one", "accepted", 1), ("two", "rejected", 1)]
    together = [(row["value"], row["outcome"], row["requests"]) for row in ask(state, "outcomes-by-label")]
    assert together == [("(none)", "accepted", 2), ("(none)", "rejected", 1)]


async def test_changes_after_the_start_with_hold_and_decision(world: World, state: Here) -> None:
    """[I2]"""
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=138)
    await world.settle()
    (change,) = ask(state, "changes-after-start")
    assert (change["name"], change["generation"], change["held"]) == ("a", 1, "changed-after-start")
    (hold,) = ask(state, "holds")
    assert (hold["name"], hold["reason"], hold["until"]) == ("a", "changed-after-start", None)
    assert (await asyncio.to_thread(state, "resolve", "a", "abandon")).code == 0
    (hold,) = ask(state, "holds", "reason=changed-after-start")
    assert hold["ended_by"] == "HoldResolved"
    assert hold["until"] is not None
    (reported,) = ask(state, "operator-commands")
    assert (reported["command"], reported["name"]) == ("resolve", "a")


async def test_possible_orphans_and_their_results(world: World, state: Here) -> None:
    """[I3]"""
    theirs = await crowd(world)
    world.sandbox.faults.add(
        [rule("createDossier", "reset-after"), rule("getDossiers", "lagging-reads", seconds=60.0, every=1)]
    )
    world.upload("a")
    await world.settle()
    for dossier_id in theirs:
        world.sandbox.world.delete_dossier(dossier_id)
    (orphan,) = ask(state, "orphans")
    assert orphan["came_to"] == "watched"
    state("audit", "certificate", "a").is_one_clear_error("a may have a dossier at Assure")
    await world.clock.advance(120)
    await world.settle()
    (orphan,) = ask(state, "orphans")
    assert orphan["came_to"] == "deleted and confirmed"
    assert {row["dossier_id"] for row in ask(state, "deletions")} == {entry.dossier_id for entry in world.dossiers("a")}
    said = state("audit", "certificate", "a").out
    for entry in world.dossiers("a"):
        assert f"ossier {entry.dossier_id}" in said


async def test_rows_as_a_table_as_csv_and_as_json(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    parts = ("audit", "query", "--sql", "SELECT name, outcome, hold_reason, '=1+1' AS formula FROM requests")
    assert state(*parts).out.splitlines() == [
        "NAME  OUTCOME   HOLD_REASON  FORMULA",
        "a     accepted  -            =1+1",
        "1 row",
    ]
    rows = list(csv.reader(io.StringIO(state(*parts, "-o", "csv").out)))
    assert rows == [["name", "outcome", "hold_reason", "formula"], ["a", "accepted", "", "'=1+1"]]
    (item,) = state(*parts, "-o", "json").json["items"]
    assert item == {"name": "a", "outcome": "accepted", "hold_reason": None, "formula": "=1+1"}


async def test_no_query_reads_a_capture_link(world: World, state: Here) -> None:
    """[I6]"""
    world.capture("a")
    async with world.running():
        link = world.link("a")
        assert link is not None
        state("audit", "query", "--sql", "SELECT * FROM links").is_one_clear_error("refused", "links")
        everything = [state("audit", "log", "a").out, state("audit", "export").out]
        everything += [state("audit", "query", "--sql", f"SELECT * FROM {view}").out for view in ("calls", "requests")]
        assert link not in "".join(everything)


def test_the_queries_are_listed_and_a_misspelt_name_suggests_the_nearest(here: Here) -> None:
    said = here("audit", "query")
    assert said.code == 0
    assert "retention-breaches\n    Dossiers that existed beyond their retention" in said.out
    assert here("audit", "query", "-o", "json").json["items"][0]["parameters"]
    here("audit", "query", "deletion").is_one_clear_error("no query named deletion", "audit query deletions")
    here("audit", "query", "select 1").is_one_clear_error("--sql")
    here("audit", "query", "operator-commands", "sinse=2026").is_one_clear_error("no parameter sinse", "[since=VALUE]")
    assert here("audit", "query", "operator-commands", "--sql", "SELECT 1").code == 2


@pytest.mark.parametrize(
    ("query", "given", "hint"),
    [
        ("deletions", "since=yesterday", "2026-11-01"),
        ("deletions", "until=2026-13-45", "2026-11-01"),
        ("holds", "since=01-11-2026", "2026-11-01"),
        ("holds", "reason=bogus", "changed-after-start"),
        ("unknown-answers", "call=foo", "start_verification"),
        ("operator-commands", "command=bogus", "approve"),
        ("retention-breaches", "allowed=abc", "900"),
        ("retention-breaches", "allowed=-5", "900"),
    ],
    ids=["word as time", "month 13", "day first", "reason", "call", "command", "word as seconds", "negative seconds"],
)
def test_an_invalid_parameter_is_an_error(state: Here, query: str, given: str, hint: str) -> None:
    state("audit", "query", query, given).is_one_clear_error(given, hint)


@pytest.mark.parametrize(
    "since", ["2026-11-01", "2026-11-01T08:30:00Z", "2026-11-01T08:30:00.125Z"], ids=["day", "second", "ms"]
)
async def test_a_day_and_a_time_are_accepted(world: World, state: Here, since: str) -> None:
    await world.settle()
    assert state("audit", "query", "deletions", f"since={since}").code == 0


async def test_a_time_in_seconds_includes_the_whole_second(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    (found,) = await asyncio.to_thread(lambda: state("audit", "query", "who-asked", "-o", "json").json["items"])
    second = found["asked"][:19] + "Z"  # .000Z to .999Z is in it
    since = await asyncio.to_thread(state, "audit", "query", "who-asked", f"since={second}", "-o", "json")
    until = await asyncio.to_thread(state, "audit", "query", "who-asked", f"until={second}", "-o", "json")
    assert (since.json["items"], until.json["items"]) == ([found], [])


def test_the_parameters_of_an_own_query_are_checked(state: Here) -> None:
    write(
        state.folder / "queries/mine.sql", "-- Mine.\n-- :call  any text\n-- :when=thime  a slip\nSELECT :call, :when\n"
    )
    state.env["STATE_URL"] = f"sqlite:///{state.folder}/agent.db"
    state("audit", "query", "mine", "when=2026-11-01").is_one_clear_error("thime", "time, seconds")
    state("audit", "query", "mine", "call=a phone call").is_one_clear_error("There is no state file")


async def test_an_own_query_is_read_from_the_folder_next_to_the_store(world: World, state: Here) -> None:
    world.upload("a")
    await world.settle()
    folder = world.state.with_name("queries")
    folder.mkdir()
    (folder / "mine.sql").write_text(
        "-- How many there are.\n-- :mode  only these\nSELECT count(*) AS n FROM requests\n"
    )
    assert ask(state, "mine", "mode=upload") == [{"n": 1}]


# -- export, certificate, checkpoints ----------------------------------------------------------------------------------


async def test_the_printed_script_verifies_an_export(world: World, state: Here, tmp_path: Path) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    file, script = tmp_path / "history.jsonl", tmp_path / "verify.py"
    assert state("audit", "export", "--to", str(file)).code == 0
    assert state("audit", "export", "--script", "--to", str(script)).out == ""
    assert script.read_text() == state("audit", "export", "--script").out
    assert state("audit", "export", "a", "--script").code == 2
    command = [sys.executable, "-I", str(script), str(file)]
    assert "1 checkpoints: ok" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    state("audit", "export", "--to", str(file)).is_one_clear_error("cannot be written")


async def test_the_certificate_states_the_deletion_with_its_evidence(world: World, state: Here) -> None:
    """[I3]"""
    world.upload("a")
    await world.settle()
    world.upload("a", annotations={"assure-agent/rerun": "again"})
    await world.settle()
    (item,) = state("audit", "certificate", "a", "-o", "json").json["items"]
    assert (item["name"], item["generations"], item["outcome"]) == ("a", 2, "accepted")
    assert [dossier["dossierId"] for dossier in item["dossiers"]] == [entry.dossier_id for entry in world.dossiers("a")]
    for dossier in item["dossiers"]:
        (deletion,) = dossier["deletions"]
        assert (deletion["result"], deletion["status"]) == ("done", 204)
        event = dossier["confirmedGone"]["event"]
        (row,) = world.rows("SELECT type, hash FROM events WHERE id = ?", event)
        assert row == ("TargetMissing", dossier["confirmedGone"]["hash"])
    assert item["checkpoint"]["number"] == 2
    text = state("audit", "certificate", "a").out
    for dossier in item["dossiers"]:
        assert f"Dossier {dossier['dossierId']} (generation {dossier['generation']})" in text
    views = {row["dossier_id"]: row["evidence_event"] for row in ask(state, "deletions", "name=a")}
    assert views == {dossier["dossierId"]: dossier["confirmedGone"]["event"] for dossier in item["dossiers"]}


async def test_there_is_no_certificate_while_a_dossier_exists(world: World, state: Here) -> None:
    world.upload("a", retention="1h")
    await world.settle()
    state("audit", "certificate", "a").is_one_clear_error("a is in phase deletion")


async def test_a_changed_audit_log_has_no_certificate(world: World, state: Here) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    connection = sqlite3.connect(world.state, isolation_level=None)
    connection.execute("DROP TRIGGER events_are_never_changed")
    connection.execute("UPDATE events SET at = at - 1 WHERE seq = 4")
    connection.close()
    state("audit", "certificate", "a").is_one_clear_error("not what was written")


async def test_an_agent_writes_a_checkpoint_at_its_end_and_logs_its_hash(world: World, state: Here) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    (line,) = checkpoint_path(world.state).read_text().splitlines()
    logged = [entry for entry in world.logs if entry["event"] == "checkpoint"]
    assert [entry["digest"] for entry in logged] == [line.split('"')[-2]]
    assert state("audit", "verify").out.splitlines()[-2].startswith("checkpoint 1 of ")
    copy = world.state.with_name("kept.jsonl")
    copy.write_text(f"{line}\n")
    assert state("audit", "verify", "--checkpoints", str(copy)).code == 0
    checkpoint_path(world.state).unlink()
    said = state("audit", "verify")
    assert said.code == 1
    assert "checkpoint 1, which the database noted, is missing" in said.out
    state("audit", "verify", "--checkpoints", "absent").is_one_clear_error("There is no file absent")


async def test_a_checkpoint_on_a_full_disk_is_reported_with_a_hint_about_free_space(
    world: World, state: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I1] The hint is about disk space, because `audit verify` would find nothing."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world.upload("a")
    with monkeypatch.context() as patch:
        patch.setattr("agent.store.audit.checkpoint_file.Checkpoints.take", full)
        await world.settle()
    (entry,) = (entry for entry in world.logs if entry["event"] == "checkpoint failed")
    assert entry["cause"] == "No space left on device"
    assert "space" in entry["hint"]
    assert "audit verify" not in entry["hint"]
    assert state("audit", "verify").code == 0


async def test_without_checkpoints_the_agent_continues_and_logs_an_error(world: World, state: Here) -> None:
    """[I1]"""
    checkpoint_path(world.state).parent.mkdir(parents=True, exist_ok=True)
    checkpoint_path(world.state).write_text("no checkpoint\n")
    world.upload("a")
    await world.settle()
    assert world.record("a").phase is Phase.DONE
    (entry,) = (entry for entry in world.logs if entry["event"] == "checkpoint failed")
    assert "audit verify" in entry["hint"]
    assert entry["cause"] == "Line 1 of agent.checkpoints.jsonl is not a valid checkpoint."
    for parts in (("export",), ("certificate", "a")):
        state("audit", *parts).is_one_clear_error("Line 1 of agent.checkpoints.jsonl is not a valid checkpoint")
    assert state("audit", "verify").code == 1


async def test_an_older_copy_of_the_journal_is_logged(world: World, state: Here) -> None:
    """[I5]"""
    world.upload("a")
    await world.settle()
    older = world.state.read_bytes()
    world.upload("b")
    await world.settle()
    world.state.write_bytes(older)
    world.upload("c")
    await world.settle()
    assert "the audit log was changed" in [entry["event"] for entry in world.logs]
    assert "the agent found the journal or the checkpoints truncated or changed" in state("audit", "verify").out
