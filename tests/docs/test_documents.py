"""The documents match the code: generated parts are current, and lists are complete."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from jsonschema import Draft202012Validator

from agent.cli.app import create_app
from agent.platform.settings import PREFIX, Settings
from agent.store.sqlite.connection import open_writer
from agent.store.sqlite.migrations import migrate

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import draw_specimens  # noqa: E402
import write_docs  # noqa: E402

from tests.conftest import SLOW  # noqa: E402

CODE = ("agent", "verification", "bench", "grafana", "scripts", "tests")
README = (ROOT / "README.md").read_text()
PAGES = write_docs.pages()
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("specs", "state", "grafana")),
]
TEXT = "\n".join(path.read_text() for path in DOCUMENTS)


def page_title(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(("page", "part"), [(page, part) for page, parts in PAGES.items() for part in parts])
def test_every_generated_part_is_current(page: str, part: str) -> None:
    text = (ROOT / page).read_text()
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    assert text.count(begin) == text.count(end) == 1
    assert text.split(begin)[1].split(end)[0].strip() == write_docs.PARTS[part](), "run `make docs`"


def test_every_part_is_on_a_page() -> None:
    assert sorted(part for parts in PAGES.values() for part in parts) == sorted(write_docs.PARTS)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_pictures_of_phases_are_current(colours: str) -> None:
    drawn = write_docs.life(getattr(write_docs.life_diagram, colours.upper()))
    assert (ROOT / f"docs/images/life-{colours}.svg").read_text() == drawn, "run `make docs`"


def test_the_two_pictures_of_the_architecture_differ_in_colours_only() -> None:
    light, dark = (
        re.sub("#[0-9a-f]{6}", "#", (ROOT / f"docs/images/architecture-{name}.svg").read_text())
        for name in ("light", "dark")
    )
    assert light == dark


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_title)
def test_every_link_to_a_file_is_valid(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    missing = [
        link
        for link in links
        if "://" not in link and (name := link.partition("#")[0]) and not (path.parent / name).exists()
    ]
    assert missing == []


def test_every_target_of_make_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"run", "test", "check", "site"} <= named <= targets


def test_the_metadata_for_datasette_is_current() -> None:
    assert (ROOT / "state/datasette.json").read_text() == write_docs.datasette(), "run `make docs`"


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    group = typer.main.get_command(create_app())
    commands = set()
    for name, command in group.commands.items():
        below = {f"{name} {sub}" for sub in getattr(command, "commands", {})}
        commands |= below | ({name} if not below or command.invoke_without_command else set())
    titles = {
        path.read_text().partition("\n")[0].removeprefix("# assure-agent ")
        for path in (ROOT / "docs/reference/cli").glob("*.md")
        if path.name != "index.md"
    }
    assert titles == commands


def test_every_command_that_a_document_names_exists() -> None:
    group = typer.main.get_command(create_app())
    for first, second in re.findall(r"assure-agent ([a-z][a-z-]+)(?: ([a-z]+)\b)?(?=[ `\n])", TEXT):
        if first in group.commands and hasattr(group.commands[first], "commands") and second:
            assert second in group.commands[first].commands, second
    named = set(re.findall(r"`(?:\.venv/bin/)?assure-agent ([a-z][a-z-]+)", TEXT))
    named |= set(re.findall(r"^(?:\.venv/bin/)?assure-agent ([a-z][a-z-]+)", TEXT, re.MULTILINE))
    assert named <= set(group.commands)


def test_every_option_of_every_command_has_a_sentence() -> None:
    group = typer.main.get_command(create_app())
    commands = [c for command in group.commands.values() for c in getattr(command, "commands", {"": command}).values()]
    for command in commands:
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name} {parameter.name}"


def test_every_setting_that_the_documents_name_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", TEXT)) <= known


def test_every_metric_that_the_documents_name_exists() -> None:
    known = {name for name, *_ in write_docs.metric_list()} | {"assure_agent_auditor"}  # a role of the database
    assert set(re.findall(r"assure_agent_[a-z_]+[a-z]", TEXT)) <= known


def test_every_table_of_the_store_is_described(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "agent.db")
    migrate(connection)
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = {row[0] for row in connection.execute(sql)}
    connection.close()
    section = (ROOT / "docs/audit.md").read_text().split("\n## Tables\n")[1].split("\n## ")[0]
    described = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))
    assert described == tables


def test_every_test_that_a_document_names_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)`", TEXT):
        assert (ROOT / name).exists(), name


def test_every_example_is_a_valid_request() -> None:
    from agent.source.validate import validate

    assert validate([ROOT / "specs"], ROOT / "images").faults == []


def test_the_published_schema_is_current() -> None:
    assert (ROOT / "specs/schema.json").read_text() == write_docs.schema_text(), "run `make docs`"


def test_the_published_description_of_the_api_is_current() -> None:
    assert (ROOT / "docs/openapi.json").read_text() == write_docs.api_text(), "run `make docs`"


def test_the_man_pages_are_current_and_groff_accepts_them(tmp_path: Path) -> None:
    """Each command has a page, and no page is of a command that no longer exists."""
    written = write_docs.manual.man_pages()
    assert "assure-agent-audit-verify.1" in written
    assert {path.name: path.read_text() for path in write_docs.MAN.glob("*.1")} == written, "run `make docs`"
    if (groff := shutil.which("groff")) is None:
        pytest.skip("groff is not installed")
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    check = [groff, "-man", "-ww", "-Tutf8", *sorted(map(str, tmp_path.glob("*.1")))]
    said = subprocess.run(check, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    for option in ("--show-personal", "--since SINCE", "EXIT STATUS", "ASSURE_AGENT_STATE_URL"):
        assert option in plain(said.stdout)


def plain(text: str) -> str:
    """Output of groff without its marks for bold text and with plain hyphens."""
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", text).replace("\u2010", "-").replace("\u2212", "-")


def test_the_wheel_has_the_man_pages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert (ROOT / next(place for place, to in shared.items() if to == "share/man") / "man1") == write_docs.MAN


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
    assert f"`{hook['id']}`" in (ROOT / "docs/reference/request-file.md").read_text()


def test_the_specimens_are_drawn_by_the_script_and_carry_their_markers() -> None:
    """Pixels may differ between versions of the drawing library; names and markers may not."""
    for folder, specimens in draw_specimens.FOLDERS.items():
        pictures = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".png", ".jpg")}
        assert pictures == set(specimens)
        for name, (*_, marker) in specimens.items():
            content = (ROOT / folder / name).read_bytes()
            assert marker.encode() in content
            assert (b"sandbox-outcome" in content) is bool(marker)


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
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


def test_each_python_file_that_the_code_names_exists() -> None:
    names = {path.name for room in CODE for path in (ROOT / room).rglob("*.py")}
    lost = [
        f"{path.relative_to(ROOT)}: {name}"
        for room in CODE
        for path in (ROOT / room).rglob("*.py")
        if path.name not in ("test_prose.py", "test_site.py", "test_planted_git_config.py")  # files that they write
        for name in re.findall(r"(?<![\w%])\w+\.py\b", path.read_text())
        if name not in names
    ]
    assert lost == []


def test_each_slow_test_that_make_test_fast_leaves_out_exists() -> None:
    assert [start for start in SLOW if not list((ROOT / "tests").glob(f"{start}*"))] == []


def test_each_document_that_a_message_names_exists() -> None:
    named = {
        name
        for path in (ROOT / "agent").rglob("*.py")
        for name in re.findall(r"\b(?:docs|specs|state|grafana)/[\w/-]+\.md\b", path.read_text())
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
