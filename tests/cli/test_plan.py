"""`plan`: exit codes, the three output formats, and that it changes nothing."""

import asyncio
import shutil

import pytest

from agent.cli.plan import as_markdown, escaped
from agent.core.record import Phase
from agent.store.sqlite.backup import back_up, restore
from agent.views.plan import Action, Change, Plan
from tests.cli.command_runner import CommandResult, Here
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import capture, write

OTHER = 9004  # another passport, in the sandbox's table

__all__ = ["begin", "world"]


def test_without_credentials_and_without_a_store(here: Here) -> None:
    here.env.clear()
    said = here("plan")
    assert (said.code, said.out) == (0, "Nothing to do: no requests. Billable starts in total: 0.\n")
    write(here.folder / "specs/a.yaml", capture("a"))
    said = here("plan", "-o", "json")
    assert said.code == 2
    assert said.json == {
        "changes": [
            {
                "name": "a",
                "action": "create",
                "reason": "new",
                "file": "a.yaml",
                "line": 1,
                "column": None,
                "hint": None,
                "starts": 1,
                "stopped": False,
                "fields": [],
            }
        ],
        "starts": 1,
        "withdrawalsStopped": 0,
        "budgetLeft": None,
        "complete": True,
        "passedOver": [],
        "recovery": None,
        "revision": None,
    }
    assert not (here.folder / "state").exists()


def test_the_exit_code_of_a_refusal_wins_over_that_of_changes(here: Here) -> None:
    write(here.folder / "specs/a.yaml", capture("a"))
    write(here.folder / "specs/b.yaml", capture("b").replace("document", "dokument"))
    said = here("plan")
    assert said.code == 5
    assert said.out.splitlines()[0].split() == ["REQUEST", "ACTION", "STARTS", "WHY"]
    assert ". Try: " in said.out
    assert said.out.endswith("1 create, 1 refuse. Billable starts in total: 1.\n")


def test_a_missing_folder_is_an_error(here: Here) -> None:
    here("plan", "--specs", "elsewhere").is_one_clear_error("source folder", "SPECS_DIR")


async def test_a_plan_without_changes_leaves_the_store_unchanged(world: World, here: Here) -> None:
    """[I7]"""
    world.upload("a")
    await world.settle()
    before = world.state.read_bytes()
    here.env |= {
        "STATE_URL": f"sqlite:///{world.state}",
        "SPECS_DIR": str(world.specs),
        "IMAGES_DIR": str(world.images),
    }
    said = await asyncio.to_thread(here, "plan")
    assert said.code == 0
    assert said.out.splitlines()[1].split(maxsplit=3) == ["a", "nothing", "0", "done, accepted"]
    (world.state.parent / "agent.key").rename(world.folder / "aside")
    (await asyncio.to_thread(here, "plan")).is_one_clear_error("agent.key", "backup")
    assert world.state.read_bytes() == before


async def test_while_an_agent_runs(world: World, here: Here) -> None:
    world.capture("a", capture={"uiProfile": "sandbox-outcome-abandoned"})
    here.env |= {
        "STATE_URL": f"sqlite:///{world.state}",
        "SPECS_DIR": str(world.specs),
        "IMAGES_DIR": str(world.images),
    }
    async with world.running():
        world.capture("a", capture={"language": "nl"})
        world.capture("b")
        said = await asyncio.to_thread(here, "plan", "-o", "json")
    assert said.code == 2
    assert [(row["name"], row["action"]) for row in said.json["changes"]] == [("a", "hold"), ("b", "create")]


def test_markdown_shows_changes_and_escapes_markup() -> None:
    nasty = "<script> @all | `x` *y* [z](http://evil.example)\n# t"
    rows = (
        Change(name="a", action=Action.CREATE, reason="new", starts=1),
        Change(name="b", action=Action.NOTHING, reason="done, accepted"),
        Change(name="", action=Action.REFUSE, reason=nasty, file=f"{nasty}.yaml", line=3, column=1, hint="correct it"),
        Change(name="c", action=Action.WITHDRAW, reason="many", stopped=True, starts=1),
    )
    text = as_markdown(Plan(changes=rows, budget_left=7))
    assert text.splitlines()[0] == "### assure-agent plan"
    assert "1 create, 1 withdraw, 1 refuse, 1 nothing.  " in text
    assert "Billable starts in total: 2.  " in text
    assert "Today's start budget still allows 7.  " in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3  # unchanged requests are only counted
    assert "| c | withdraw (stopped) | many | 1 |" in table
    for line in table:
        assert "<" not in line
        assert "@" not in line
    assert escaped("a|b") == "a\\|b"
    assert escaped("[z](u)") == "\\[z\\]\\(u\\)"


def test_a_long_plan_is_cut_in_a_comment() -> None:
    rows = tuple(Change(name=f"a{n}", action=Action.CREATE, reason="new", starts=1) for n in range(600))
    text = as_markdown(Plan(changes=rows))
    assert text.endswith("... and 100 more.")
    assert "Billable starts in total: 600." in text


# -- a lost, older or restored store -----------------------------------------------------------------------------------


def rows(said: CommandResult) -> dict[str, tuple[str, int]]:
    return {row["name"]: (row["action"], row["starts"]) for row in said.json["changes"]}


async def planned(here: Here, world: World) -> CommandResult:
    for name, value in (("SPECS_DIR", world.specs), ("IMAGES_DIR", world.images)):
        here.env[name] = str(value)
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    return await asyncio.to_thread(here, "plan", "-o", "json")


async def test_the_plan_for_a_lost_store_agrees_with_the_run(world: World, here: Here) -> None:
    """[I2]"""
    world.upload("done")
    world.upload("runs", "sandbox-delay=10m")
    async with world.running():
        await world.clock.advance(60)
    for path in world.state.parent.glob("agent.db*"):
        path.unlink()
    said = await planned(here, world)
    assert (said.code, said.json["recovery"], said.json["starts"]) == (2, "lost", 0)
    assert rows(said) == {"done": ("hold", 0), "runs": ("hold", 0)}
    assert {row["reason"] for row in said.json["changes"]} == {
        "adopted if Assure still has its dossier; otherwise held until `assure-agent approve`"
    }
    assert not world.state.exists()
    async with world.running():
        said = await planned(here, world)
    assert rows(said) == {"done": ("nothing", 0), "runs": ("nothing", 0)}
    assert world.record("done").hold is not None
    assert world.record("runs").phase is Phase.RESULT


async def test_an_older_copy_starts_nothing_before_the_approval(world: World, here: Here) -> None:
    """[I2]"""
    world.upload("done")
    world.upload("later", suspend=True)
    await world.settle()
    kept = world.folder / "older.db"
    shutil.copy(world.state, kept)
    world.upload("runs", "sandbox-delay=10m")
    async with world.running():
        await world.clock.advance(60)
    for path in world.state.parent.glob("agent.db-*"):
        path.unlink()
    shutil.copy(kept, world.state)
    world.upload("later")
    world.upload("done", annotations={"assure-agent/rerun": "again"})
    said = await planned(here, world)
    assert (said.json["recovery"], said.json["starts"]) == ("older", 0)
    assert rows(said) == {"done": ("hold", 0), "later": ("change", 0), "runs": ("hold", 0)}
    before = world.ledger.calls.copy()
    async with world.running():
        await world.clock.advance(60)
        said = await planned(here, world)
        assert (said.json["recovery"], said.json["starts"]) == ("older", 0)
        assert {name for name, one in world.records().items() if one.hold is not None} == {"done", "later"}
    assert "createDossier" not in world.ledger.calls - before


@pytest.mark.parametrize("abandoned", [False, True], ids=["held", "abandoned"])
async def test_a_new_rerun_token_in_a_held_or_abandoned_change_is_planned(
    world: World, here: Here, abandoned: bool
) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    if abandoned:
        here.env |= {"STATE_URL": f"sqlite:///{world.state}", "SPECS_DIR": str(world.specs)}
        assert (await asyncio.to_thread(here, "resolve", "a", "abandon")).code == 0
        assert "a new `assure-agent/rerun` token" in (await asyncio.to_thread(here, "explain", "a")).out
    assert rows(await planned(here, world)) == {"a": ("nothing", 0)}
    world.upload("a", document_id=OTHER, annotations={"assure-agent/rerun": "t1"})
    assert rows(await planned(here, world)) == {"a": ("rerun", 1)}
    await world.settle()
    assert rows(await planned(here, world)) == {"a": ("nothing", 0)}
    assert world.starts("a") == 2


def test_a_backup_into_a_missing_folder_creates_no_file(here: Here) -> None:
    here("backup", f"{here.folder}/kept/").is_one_clear_error("There is no folder", "kept/")
    assert not (here.folder / "kept").exists()


async def test_a_restored_backup_includes_its_key(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    backup = world.folder / "backup.db"
    back_up(world.state, backup)
    for path in world.state.parent.iterdir():
        path.unlink()
    restore(backup, world.state)
    said = await planned(here, world)
    assert (said.json["recovery"], rows(said)) == ("restored", {"a": ("nothing", 0)})


def test_the_summary_begins_with_the_lost_store(here: Here) -> None:
    write(here.folder / "specs/a.yaml", capture("a"))
    (here.folder / "state").mkdir()
    (here.folder / "state/agent.key").write_text("5a" * 32 + "\n")
    said = here("plan")
    assert said.code == 2
    assert said.out.endswith(
        "The store was lost: `run` first reads from Assure which dossiers it still has. "
        "1 hold. Billable starts in total: 0.\n"
    )
