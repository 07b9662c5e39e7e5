"""`config view`: every setting with its value, default and source, and no secret."""

from pathlib import Path
from typing import Any

import pytest

from agent.platform.settings import PREFIX, Settings
from tests.cli.command_runner import Here

SECRET = "a-secret-that-nobody-may-read-0123456789"


def shown(here: Here, *arguments: str, **env: str) -> dict[str, dict[str, Any]]:
    """The settings in the output by their names without the prefix."""
    said = here(*arguments, "config", "view", "-o", "json", **env)
    assert said.code == 0, said
    return {item.pop("name").removeprefix(PREFIX): item for item in said.json["items"]}


def test_every_setting_is_shown_with_its_default(here: Here) -> None:
    values = shown(here)
    assert list(values) == [name.upper() for name in Settings.model_fields]
    assert values["SCAN_INTERVAL"] == {"value": "10.0", "default": "10.0", "source": "default", "where": None}


def test_the_source_of_a_value_is_the_environment_a_flag_or_a_file_with_its_line(here: Here) -> None:
    file, yaml = here.folder / "my.env", here.folder / "my.yaml"
    file.write_text("# ours\nASSURE_AGENT_CONCURRENCY=7\n")
    yaml.write_text("poll_interval: 9s\nconcurrency: 3\n")
    values = shown(here, "--env-file", str(file), "--config-file", str(yaml), SOURCE_NAME="mine")
    assert values["SOURCE_NAME"] == {
        "value": "mine",
        "default": "default",
        "source": "environment",
        "where": "the environment",
    }
    assert values["CONCURRENCY"] == {"value": "7", "default": "64", "source": ".env", "where": f"{file}:2"}
    assert values["POLL_INTERVAL"] == {"value": "9.0", "default": "5.0", "source": "yaml", "where": f"{yaml}:1"}
    table = here("--env-file", str(file), "config", "view").out.splitlines()
    assert ["ASSURE_AGENT_CONCURRENCY", "7", "64", f"{file}:2"] in [line.split() for line in table]


@pytest.mark.parametrize("form", [("-o", "json"), ()], ids=["json", "table"])
def test_secrets_are_masked(here: Here, form: tuple[str, ...]) -> None:
    secret = here.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    names = [name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)]
    assert {"CLIENT_SECRET", "CLAIMS_KEY", "API_TOKEN"} <= set(names)
    proxy = {"PROXY_URL": "http://agent@proxy.example:3128"}  # a URL of another form is refused
    repository = {"SOURCE_URL": "https://git.example/r.git"}  # without it, there is no hook
    said = here("config", "view", *form, **dict.fromkeys(names, SECRET) | proxy | repository)
    assert said.code == 0, said
    assert SECRET not in said.out + said.err
    said = here("config", "view", *form, CLIENT_SECRET="", CLIENT_SECRET_FILE=str(secret))
    assert said.code == 0, said
    assert SECRET not in said.out + said.err
    assert str(Path(secret)) in said.out


def test_a_wrong_setting_is_an_error(here: Here) -> None:
    here("config", "view", CONCURENCY="7").is_one_clear_error("CONCURRENCY", code=2)
    assert here("config", "view", CONCURRENCY="many").code in (1, 2)
    assert here("config").code == 2
