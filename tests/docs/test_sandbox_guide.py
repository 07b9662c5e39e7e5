"""The guide of the sandbox is correct: its rules are accepted, and its lists are complete."""

import json
import re
from pathlib import Path

import typer.main

from agent.cli.app import create_app
from agent.sandbox import SandboxConfig
from agent.sandbox.capture.profile import Profile
from agent.sandbox.config import DOCUMENTS
from agent.sandbox.faults.rules import Kind, Rule
from agent.sandbox.world import World

GUIDE = (Path(__file__).parents[2] / "docs/sandbox.md").read_text()


def section(title: str) -> str:
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, str]:
    found = re.findall(r"^\| (`.+?) \| (.+) \|$", text, re.MULTILINE)
    return {name: tail for names, tail in found for name in re.findall(r"`(\w+)`", names)}


def test_the_rules_of_the_example_are_accepted() -> None:
    (rules,) = re.findall(r"-d '(\[.*?\])'", section("Faults"), re.DOTALL)
    recipes = re.findall(r"^\| .+ \| `(\{.+?\})`", section("Faults"), re.MULTILINE)
    assert len(recipes) == 7
    for rule in [*json.loads(rules), *map(json.loads, recipes)]:
        Rule.parse(rule)


def test_every_field_and_kind_of_a_fault_is_described() -> None:
    described = rows(section("Faults"))
    known = set(Rule(operation="*", kind=Kind.HANG, acts=False, nth=1, count=1).row()) | {"every", "rate"}
    assert set(described) == known
    assert set(re.findall(r"`([\w-]+)`", described["kind"])) - {"event"} == {str(kind) for kind in Kind}


def test_every_field_of_the_ledger_is_described() -> None:
    assert set(rows(section("Ledger"))) == set(World(SandboxConfig()).ledger.report())


def test_the_configuration_of_the_example_is_accepted() -> None:
    (sent,) = re.findall(r"-d '(\{.*?\})'", section("Capture flow"), re.DOTALL)
    profile = Profile.parse(json.loads(sent))
    assert profile.unknown() == {}
    assert profile.signicatpictureid_config is not None
    assert set(profile.signicatpictureid_config.allowed_id_types or ()) <= {row.id for row in DOCUMENTS}
    assert f"{len(DOCUMENTS)} documents of {len({row.country for row in DOCUMENTS})} countries" in GUIDE


def test_every_option_that_the_guide_names_exists() -> None:
    group = typer.main.get_command(create_app())
    options = {
        option
        for name in ("sandbox", "run", "document-types")
        for parameter in group.commands[name].params  # type: ignore[attr-defined]
        for option in parameter.opts
    }
    named = set(re.findall(r"(--[a-z][a-z-]*)", re.sub(r"curl .*", "", GUIDE))) - {"--help"}
    assert named <= options
