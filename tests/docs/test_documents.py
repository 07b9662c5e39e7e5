"""The documents tell the truth: generated parts are current, and what can be listed is listed."""

import json
import re
import sys
from pathlib import Path

import pytest
import typer.main
import yaml
from jsonschema import Draft202012Validator

from agent.cli.app import app
from agent.platform.settings import PREFIX, Settings
from agent.store.connection import open_writer
from agent.store.migrations import migrate

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import draw_specimens  # noqa: E402
import write_docs  # noqa: E402

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("part", write_docs.PARTS)
def test_every_generated_part_of_the_readme_is_current(part: str) -> None:
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    assert README.count(begin) == README.count(end) == 1
    assert README.split(begin)[1].split(end)[0].strip() == write_docs.PARTS[part](), "run `make docs`"


@pytest.mark.parametrize("part", write_docs.MEASURED_PARTS)
def test_the_figures_of_the_benchmark_are_current(part: str) -> None:
    text = (ROOT / "docs/performance.md").read_text()
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    assert text.split(begin)[1].split(end)[0].strip() == write_docs.MEASURED_PARTS[part](), "run `make docs`"


@pytest.mark.parametrize("part", write_docs.STATE_PARTS)
def test_every_generated_part_of_the_state_readme_is_current(part: str) -> None:
    text = (ROOT / "state/README.md").read_text()
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    assert text.count(begin) == text.count(end) == 1
    assert text.split(begin)[1].split(end)[0].strip() == write_docs.STATE_PARTS[part](), "run `make docs`"


def test_the_metadata_for_datasette_is_current() -> None:
    assert (ROOT / "state/datasette.json").read_text() == write_docs.datasette(), "run `make docs`"


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    group = typer.main.get_command(app)
    commands = set()
    for name, command in group.commands.items():
        below = {f"{name} {sub}" for sub in getattr(command, "commands", {})}
        commands |= below | ({name} if not below or command.invoke_without_command else set())
    documented = set(re.findall(r"^\| `assure-agent ((?:audit |sandbox (?=[a-z]))?[a-z-]+)", README, re.MULTILINE))
    assert documented == commands


def test_every_option_of_every_command_has_a_sentence() -> None:
    group = typer.main.get_command(app)
    commands = [c for command in group.commands.values() for c in getattr(command, "commands", {"": command}).values()]
    for command in commands:
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name} {parameter.name}"


def test_every_setting_that_the_documents_name_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for path in (ROOT / "README.md", ROOT / "specs/README.md", ROOT / "state/README.md"):
        assert set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", path.read_text())) <= known, path


def test_every_metric_that_the_readme_names_exists() -> None:
    known = {name for name, *_ in write_docs.metric_list()}
    assert set(re.findall(r"assure_agent_[a-z_]+[a-z]", README)) <= known


def test_every_table_of_the_store_is_described(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "agent.db")
    migrate(connection)
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = {row[0] for row in connection.execute(sql)}
    connection.close()
    section = (ROOT / "state/README.md").read_text().split("\n## Tables\n")[1].split("\n## ")[0]
    described = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))
    assert described == tables


def test_every_test_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)`", README):
        assert (ROOT / name).exists(), name


def test_every_example_is_a_good_request() -> None:
    from agent.source.validate import validate

    assert validate([ROOT / "specs"], ROOT / "images").faults == []


def test_the_published_schema_is_current() -> None:
    assert (ROOT / "specs/schema.json").read_text() == write_docs.schema_text(), "run `make docs`"


def test_the_published_description_of_the_api_is_current() -> None:
    assert (ROOT / "docs/openapi.json").read_text() == write_docs.api_text(), "run `make docs`"


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_names_the_schema_and_keeps_to_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    validator = Draft202012Validator(json.loads((ROOT / "specs/schema.json").read_text()))
    for document in yaml.safe_load_all(text):
        validator.validate(document)


def test_the_hook_for_pre_commit_is_documented_and_checks_without_images() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "assure-agent validate --no-images"
    assert f"`{hook['id']}`" in README


def test_the_specimens_are_drawn_by_the_script_and_carry_their_markers() -> None:
    """Pixels may differ between versions of the drawing library; names and markers may not."""
    for folder, specimens in draw_specimens.FOLDERS.items():
        pictures = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".png", ".jpg")}
        assert pictures == set(specimens)
        for name, (*_, marker) in specimens.items():
            content = (ROOT / folder / name).read_bytes()
            assert marker.encode() in content
            assert (b"sandbox-outcome" in content) is bool(marker)


def test_nothing_in_the_tree_names_a_registry_or_a_path_of_some_machine() -> None:
    from subprocess import run

    files = run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    # In pieces, because this file is read too.
    hosts = "|".join(["py" + "pi", "python" + "hosted", "npm" + "js", "deb" + "ian"])
    folders = "|".join(["ho" + r"me/\w+", "ro" + "ot", "wo" + "rk"])
    bad = re.compile(rf"({hosts})\.(org|io)|(?<![\w.}}])/({folders})/")
    for name in filter(None, files):
        path = ROOT / name
        if path.is_file():
            assert not bad.search(path.read_bytes().decode("utf-8", "ignore")), name


def test_the_changelog_names_the_version() -> None:
    from agent import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
