"""`get` of several requests: names, selections, order, limit, columns and formats."""

import csv
import io

import pytest
import yaml

from agent.views.age import format_age
from agent.views.resource import FIELDS
from tests.cli.command_runner import CommandResult, Here
from tests.support.clock import START
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD, upload, write

__all__ = ["begin", "world"]


@pytest.fixture
async def state(world: World, here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A store with five requests and a refused document, an hour after the admission."""
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    world.upload("done", labels={"team": "onboarding", "tier": "gold"})
    world.upload("held", document_id=IDENTITY_CARD, labels={"team": "onboarding"})
    world.upload("retained", retention="1d", labels={"team": "support"})
    world.upload("suspended", suspend=True)
    write(world.specs / "refused.yaml", upload("refused", {"front": "no/such.jpg"}))
    await world.settle()
    monkeypatch.setattr("agent.cli.request_table.time", lambda: START + 3600.0)
    return here


def names(said: CommandResult) -> list[str]:
    """The names that `-o name` printed."""
    assert said.code == 0, said
    return said.out.splitlines()


async def test_several_names_are_listed_once_each(state: Here) -> None:
    assert names(state("get", "suspended", "done", "done", "-o", "name")) == ["done", "suspended"]
    said = state("get", "done", "refused", "-o", "json")
    assert ([item["name"] for item in said.json["items"]], len(said.json["refused"])) == (["done"], 1)


async def test_unknown_names_are_errors_and_the_others_are_shown(state: Here) -> None:
    said = state("get", "unknown-1", "done", "unknown-2", "-o", "name")
    assert (said.code, said.out) == (1, "done\n")
    assert [line.split(".")[0] for line in said.err.splitlines()] == [
        "assure-agent: There is no request named unknown-2",
        "assure-agent: There is no request named unknown-1",
    ]
    assert state("get", "unknown-1", "-o", "json").out == ""


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("-l", "team=onboarding"), ["done", "held"]),
        (("-l", "team=onboarding,tier"), ["done"]),
        (("-l", "team", "-l", "team!=support"), ["done", "held"]),
        (("--phase", "done"), ["done"]),
        (("--phase", "done", "--phase", "deletion"), ["done", "retained"]),
        (("--state", "held", "--state", "suspended"), ["held", "suspended"]),
        (("--outcome", "accepted", "--state", "waiting"), ["retained"]),
        (("--reason", "back-image-required"), ["held"]),
        (("--reason", "retention"), ["retained"]),
        (("done", "held", "--state", "held"), ["held"]),
        (("--outcome", "lost"), []),
    ],
)
async def test_options_select_requests(state: Here, options: tuple[str, ...], found: list[str]) -> None:
    assert names(state("get", *options, "-o", "name")) == found


async def test_a_selection_shows_no_refused_documents_and_says_when_it_is_empty(state: Here) -> None:
    assert "refused:" in state("get").out
    assert "refused:" not in state("get", "--state", "held").out
    said = state("get", "--outcome", "lost")
    assert (said.code, said.out, said.err) == (0, "", "No request matches.\n")


async def test_an_unknown_value_of_an_option_is_wrong_use(state: Here) -> None:
    state("get", "--phase", "resul").is_one_clear_error("Did you mean 'result'?", "verification", code=2)
    state("get", "--sort-by", "agee").is_one_clear_error("Did you mean 'age'?", "deadline", code=2)
    state("get", "-o", "yml").is_one_clear_error("Did you mean 'yaml'?", "jsonpath=TEMPLATE", code=2)
    state("get", "-o", "json=x").is_one_clear_error("json=x", code=2)
    state("get", "-l", "a=b=c").is_one_clear_error("a=b=c", code=2)
    assert state("get", "--limit", "0").code == 2


async def test_the_order_follows_a_column_and_rows_without_a_value_come_last(state: Here, world: World) -> None:
    def order(column: str) -> list[str]:
        return names(state("get", "--sort-by", column, "-o", "name"))

    assert names(state("get", "-o", "name")) == order("name") == ["done", "held", "retained", "suspended"]
    assert order("phase") == ["suspended", "held", "retained", "done"]
    assert order("reason") == ["held", "retained", "done", "suspended"]
    world.upload("a-young-one", suspend=True)
    await world.settle()
    assert order("age")[0] == "a-young-one"
    assert order("AGE") == order("age")


async def test_a_limit_reports_the_others_on_stderr(state: Here) -> None:
    said = state("get", "--limit", "3", "--sort-by", "phase", "-o", "name")
    assert (names(said), said.err) == (["suspended", "held", "retained"], "1 more not shown, because of --limit 3.\n")
    assert state("get", "--limit", "4").err == ""


async def test_wide_adds_columns_and_the_age_is_since_the_admission(state: Here, world: World) -> None:
    header, *rows = [line.split() for line in state("get", "--state", "held", "-o", "wide").out.splitlines()]
    assert header == [
        "NAME", "MODE", "PHASE", "STATE", "OUTCOME", "REASON", "AGE", "GENERATION", "LABELS", "FILE", "COMMIT",
        "DEADLINE", "UID",
    ]  # fmt: skip
    (row,) = rows
    held = world.record("held")
    assert held.hold is not None
    assert row[5:] == [
        "back-image-required", f"({held.hold.id})", "60m", "1", "team=onboarding", "held.yaml", "-",
        "2027-01-16T08:00:00.000Z", held.uid,
    ]  # fmt: skip


async def test_formats_for_programs_have_the_same_fields(state: Here) -> None:
    listed = state("get", "-o", "json").json
    assert yaml.safe_load(state("get", "-o", "yaml").out) == listed
    header, *rows = csv.reader(io.StringIO(state("get", "-o", "csv").out))
    assert header == list(FIELDS) == list(listed["items"][0])
    assert rows == [[str(cell) if cell is not None else "" for cell in item.values()] for item in listed["items"]]


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{.items[*].name}", "done held retained suspended\n"),
        ("{.items[0].outcome}{.items[1].outcome}", "accepted\n"),
        ("{.items[?(@.state=='held')].name}", "held\n"),
        ("{.items[?(@.state==\"held\")]['name','state']}", "held held\n"),
        ('{range .items[:2]}{.name}{"\\t"}{.generation}{"\\n"}{end}', "done\t1\nheld\t1\n"),
        ("first: {$.items[0].name}", "first: done\n"),
        ("{.refused[0].line}", "10\n"),
        ("{.items[0].nothing}", ""),
        ("{.items[0:0]}", ""),
    ],
)
async def test_a_jsonpath_template_prints_what_it_prints_with_kubectl(state: Here, template: str, printed: str) -> None:
    said = state("get", "-o", f"jsonpath={template}")
    assert (said.code, said.out, said.err) == (0, printed, "")


@pytest.mark.parametrize(
    "template", ["", ".items[*].name", "{.items[}", "{range .items[*]}{.name}", "{.name}{end}", '{"\\x"}', "{.a} {.b"]
)
async def test_an_invalid_template_is_wrong_use(here: Here, template: str) -> None:
    here("get", "-o", f"jsonpath={template}").is_one_clear_error("jsonpath", code=2)


def test_a_document_is_printed_as_json() -> None:
    from agent.cli.jsonpath_template import Template

    assert Template("{.}").render({"a": [None, True]}) == '{"a":[null,true]}'
    assert Template("{.a}").render({"a": [None, True]}) == "[null,true]"
    assert Template("{range .a[*]}<{@}>{end}").render({"a": [None, True, "x"]}) == "<><true><x>"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5.0, "0s"), (0.4, "0s"), (5.9, "5s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"), (601, "10m"),
        (10_799, "179m"), (10_800, "3h"), (11_460, "3h11m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"),
        (180_000, "2d2h"), (691_200, "8d"), (63_072_000, "2y"), (63_158_400, "2y1d"), (252_288_000, "8y"),
    ],
)  # fmt: skip
def test_the_age_is_printed_as_kubectl_prints_it(seconds: float, text: str) -> None:
    assert format_age(seconds) == text
