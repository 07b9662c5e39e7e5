"""The settings: what is misspelt, empty or unreadable is told by its name and place, and never by its value."""

import asyncio
import re
from pathlib import Path

import pytest

from agent.core.errors import SettingsError
from agent.settings import load_settings, unknown_settings
from tests.support.fixtures import begin, world
from tests.support.world import World

from .command import Here

__all__ = ["begin", "world"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_misspelt_is_told_wherever_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A brake on what is billed must not be lost to a typo."""
    monkeypatch.setenv("ASSURE_AGENT_LOG_LEVLE", "debug")
    (folder / ".env").write_text("ASSURE_AGENT_MAX_START_PER_DAY=5\nASSURE_AGENT_CONCURRENCY=8\nOTHER=1\n")
    (folder / "assure-agent.yaml").write_text("max_start_per_day: 5\nrate_limit: 5\n")
    assert (load_settings().concurrency, load_settings().rate_limit) == (8, 5)
    assert unknown_settings() == [
        "ASSURE_AGENT_LOG_LEVLE",
        "ASSURE_AGENT_MAX_START_PER_DAY",
        "max_start_per_day (assure-agent.yaml)",
    ]


@pytest.mark.parametrize(
    "name", ["BASE_URL", "SPECS_DIR", "IMAGES_DIR", "SOURCE_NAME", "STATE_URL", "CLIENT_SECRET_FILE"]
)
def test_an_empty_value_that_means_nothing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I2] An empty SOURCE_NAME is another source: everybody would be verified anew."""
    monkeypatch.setenv(f"ASSURE_AGENT_{name}", "")
    with pytest.raises(SettingsError, match=f"ASSURE_AGENT_{name}: expected"):
        load_settings()


def test_an_empty_backup_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the working directory, and had backups."""
    monkeypatch.setenv("ASSURE_AGENT_BACKUP_DIR", "")
    assert load_settings().backup_dir is None


def test_what_is_no_text_is_refused_and_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSURE_AGENT_TYPO\udcff", "1")
    assert unknown_settings() == ["ASSURE_AGENT_TYPO?"]
    monkeypatch.setenv("ASSURE_AGENT_SOURCE_NAME", "\udcff")
    with pytest.raises(SettingsError, match="ASSURE_AGENT_SOURCE_NAME: expected text in UTF-8"):
        load_settings()


@pytest.mark.parametrize("path", [".", "..", "/", ":memory:", "kept/", "kept", "a\0b"])
def test_a_store_that_is_no_file_is_refused(folder: Path, path: str) -> None:
    (folder / "kept").mkdir()
    with pytest.raises(SettingsError, match="the path of a file"):
        load_settings(state_url=f"sqlite:///{path}")
    assert [one.name for one in folder.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("assure-agent.yaml", b"rate_limit: [1\n", "assure-agent.yaml:2:1 is no YAML"),
        ("assure-agent.yaml", b"- secret\n", "assure-agent.yaml: expected names of settings"),
        ("assure-agent.yaml", b"log_level: info\nrate_limit: \xff\n", "assure-agent.yaml:2 is not UTF-8"),
        ("assure-agent.yaml", b"rate_limit: \x01\n", "assure-agent.yaml has a control character, U\\+0001"),
        (".env", b"A=1\nASSURE_AGENT_CLIENT_SECRET=\xff\xfe\n", ".env:2 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    folder: Path, here: Here, name: str, content: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every command, and by doctor in its table."""
    monkeypatch.chdir(folder)
    (folder / ".env").write_text("OTHER=1\n")
    (folder / name).write_bytes(content)
    said = here("doctor", "--offline")
    assert (said.code, said.err) == (1, "")
    assert re.search(told, said.out)
    with pytest.raises(SettingsError, match=told):
        unknown_settings()
    with pytest.raises(SettingsError, match=told) as raised:
        load_settings()
    assert "secret" not in str(raised.value)


async def test_a_source_under_another_name_is_refused_before_anybody_is_billed_again(world: World, here: Here) -> None:
    """[I2] The name is part of every uid: under another one all are new."""
    world.upload("a")
    await world.settle()
    with pytest.raises(SettingsError, match="follows the source default"):
        await world.settle(source_name="office")
    here.env |= {"STATE_URL": f"sqlite:///{world.state}", "SOURCE_NAME": "office"}
    (await asyncio.to_thread(here, "plan")).is_one_clear_error("SOURCE_NAME", "set it back to default")
    said = await asyncio.to_thread(here, "doctor", "--offline")
    assert "follows the source default" in said.out
    assert world.starts("a") == 1
