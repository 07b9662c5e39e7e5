"""The settings of a database and of a state file: each is refused for the other engine, and no password shows."""

from pathlib import Path

import pytest

from agent.core.errors import SettingsError, StoreDamaged, UntrustedFile
from agent.platform.settings import load_settings
from agent.store.identity_key import Keys
from tests.cli.command_runner import Here
from verification.builders.request_files import write

URL = "postgresql://me@localhost/db"


@pytest.fixture(autouse=True)
def _no_other_settings(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.folder)


@pytest.mark.parametrize("name", ["STATE_PASSWORD_FILE", "STATE_DIR", "KEY_FILE", "KEYS_DIR"])
def test_a_setting_of_the_database_has_no_effect_on_a_state_file(here: Here, name: str) -> None:
    said = here("config", "view", **{name: "elsewhere"})
    said.is_one_clear_error(f"ASSURE_AGENT_{name} has no effect", "STATE_URL names a state file", "Remove it")


def test_backups_are_those_of_the_server(here: Here) -> None:
    said = here("config", "view", STATE_URL=URL, BACKUP_DIR="kept")
    said.is_one_clear_error("ASSURE_AGENT_BACKUP_DIR has no effect", "STATE_URL names a database", "pg_dump")


def test_the_command_line_names_a_store_of_the_other_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASSURE_AGENT_STATE_URL", URL)
    monkeypatch.setenv("ASSURE_AGENT_STATE_PASSWORD_FILE", "password")
    monkeypatch.setenv("ASSURE_AGENT_KEY_FILE", "elsewhere/key")
    assert load_settings().key_path == Path("elsewhere/key")
    settings = load_settings(state_url="sqlite:///old/agent.db")
    assert (settings.state_password_file, settings.key_path) == (None, Path("old/agent.key"))
    with pytest.raises(SettingsError, match="KEY_FILE has no effect"):
        load_settings(state_url="sqlite:///old/agent.db", key_file="elsewhere/key")


def test_an_error_in_the_url_shows_no_password(here: Here) -> None:
    said = here("config", "view", STATE_URL="postgresql://me:hunter2@localhost/db")
    said.is_one_clear_error("ASSURE_AGENT_STATE_URL: expected", "STATE_PASSWORD_FILE")
    assert "hunter2" not in said.out + said.err


def test_the_settings_of_the_database_are_shown_without_the_password(here: Here) -> None:
    write(here.folder / "password", "hunter2\n").chmod(0o600)
    said = here("config", "view", STATE_URL=URL, STATE_PASSWORD_FILE="password", KEYS_DIR="days")
    assert said.code == 0, said
    shown = {line.split()[0]: line.split()[1] for line in said.out.splitlines()}
    assert shown["ASSURE_AGENT_STATE_URL"] == URL
    assert (shown["ASSURE_AGENT_STATE_PASSWORD_FILE"], shown["ASSURE_AGENT_KEYS_DIR"]) == ("password", "days")
    assert "hunter2" not in said.out


@pytest.mark.parametrize("file", ["agent.key", "agent.mark"])
def test_an_env_file_counts_beside_the_local_files_of_a_database(here: Here, file: str) -> None:
    write(here.folder / ".env", "ASSURE_AGENT_CONCURRENCY=3\n").chmod(0o600)
    write(here.folder / "local" / file, "x").chmod(0o600)
    assert here("config", "view", STATE_URL=URL, STATE_DIR="local").code == 0
    for other in ({"STATE_URL": URL}, {"STATE_URL": "postgresql://me@localhost/local/agent.db"}):
        here("config", "view", **other).is_one_clear_error(".env was not read", code=2)
    (here.folder / "local" / file).chmod(0o644)  # as a checkout makes it
    here("config", "view", STATE_URL=URL, STATE_DIR="local").is_one_clear_error(".env was not read", code=2)


def test_a_key_file_that_others_can_change_is_refused(folder: Path) -> None:
    file = write(folder / "key", "a" * 64)
    file.chmod(0o600)
    assert Keys.existing(folder / "agent", file) is not None
    file.chmod(0o622)
    with pytest.raises(UntrustedFile, match="other users can change it"):
        Keys.existing(folder / "agent", file)
    file.chmod(0o600)
    file.write_bytes(b"\xff")
    with pytest.raises(StoreDamaged, match="does not hold 32 bytes"):
        Keys.existing(folder / "agent", file)
