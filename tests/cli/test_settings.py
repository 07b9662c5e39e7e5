"""The settings: errors name the setting and its source, and never a secret value."""

import asyncio
import base64
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import SettingsError, WrongUse
from agent.platform import settings_sources
from agent.platform.settings import load_settings
from agent.platform.settings_types import checked_url, signing_keys
from agent.store.identity_key import Keys
from tests.cli.command_runner import Here
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import write

__all__ = ["begin", "world"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(folder: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which the agent has its state."""
    Keys.load_or_create(write(here.folder / "state/agent.db", b""))
    (here.folder / "state/agent.db").unlink()
    monkeypatch.chdir(here.folder)
    return here.folder


@pytest.mark.parametrize(
    ("place", "content", "expected"),
    [
        (
            ".env",
            "ASSURE_AGENT_LISTEN=x:1\nASSURE_AGENT_MAX_START_PER_DAY=5\n",
            ".env:2: ASSURE_AGENT_MAX_START_PER_DAY",
        ),
        (".env", "assure_agent_max_start_per_day=5\n", ".env:1: assure_agent_max_start_per_day"),
        (
            "assure-agent.yaml",
            b"rate_limit: 5\nmax_start_per_day: 5\n".decode(),
            "assure-agent.yaml:2: max_start_per_day",
        ),
        ("assure-agent.yaml", "ASSURE_AGENT_MAX_START_PER_DAY: 5\n", "assure-agent.yaml:1: ASSURE_AGENT_MAX_START"),
        ("secrets", "assure_agent_max_start_per_day", "secrets/assure_agent_max_start_per_day"),
        ("environment", "ASSURE_AGENT_MAX_START_PER_DAY", "The environment: ASSURE_AGENT_MAX_START_PER_DAY"),
        ("environment", "ASSURE_AGENT_MAX_STARTS_PERDAY", "The environment: ASSURE_AGENT_MAX_STARTS_PERDAY"),
        ("environment", "Assure_Agent_Max_Starts_PerDay", "The environment: Assure_Agent_Max_Starts_PerDay"),
        ("environment", "ASURE_AGENT_MAX_STARTS_PER_DAY", "The environment: ASURE_AGENT_MAX_STARTS_PER_DAY"),
        ("environment", "ASSURE_MAX_STARTS_PER_DAY", "The environment: ASSURE_MAX_STARTS_PER_DAY"),
        ("environment", "MAX_STARTS_PER_DAY", "The environment: MAX_STARTS_PER_DAY"),
        (".env", "MAX_STARTS_PERDAY=5\n", ".env:1: MAX_STARTS_PERDAY"),
    ],
)
def test_a_misspelt_start_limit_is_refused_by_every_command_from_every_source(
    own: Path, here: Here, place: str, content: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(content, "5")
    elif place == "secrets":
        monkeypatch.setattr(settings_sources, "SECRETS", own / "secrets")
        write(own / "secrets" / content, "5")
    else:
        write(own / place, content)
    for command in (("run", "--once"), ("plan",), ("get",), ("validate", "specs"), ("audit", "verify"), ("pause",)):
        said = here(*command)
        said.is_one_clear_error(
            expected, "Did you mean", "MAX_STARTS_PER_DAY" if place != "assure-agent.yaml" else "max_", code=2
        )
    said = here("doctor", "--offline", "-o", "json")
    assert (said.code, said.json["checks"][0]["state"], said.err) == (1, "problem", "")
    assert expected in said.json["checks"][0]["message"]


def test_a_value_that_is_set_twice_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("assure_agent_agent_id", "a")
    assert load_settings().agent_id == "a"
    monkeypatch.setenv("ASSURE_AGENT_AGENT_ID", "b")
    with pytest.raises(WrongUse, match="The environment: AGENT_ID is set twice"):
        load_settings()
    monkeypatch.delenv("assure_agent_agent_id")
    secret = write(own / "secret", "hunter2")
    secret.chmod(0o600)
    monkeypatch.setenv("ASSURE_AGENT_CLIENT_SECRET_FILE", str(secret))
    assert load_settings().client_secret.get_secret_value() == "hunter2"
    assert load_settings(client_secret="sandbox").client_secret.get_secret_value() == "sandbox"
    monkeypatch.setenv("ASSURE_AGENT_CLIENT_SECRET", "other")
    with pytest.raises(WrongUse, match="CLIENT_SECRET_FILE is set, and ASSURE_AGENT_CLIENT_SECRET as well"):
        load_settings()


def test_an_option_without_its_value_is_wrong_use(here: Here) -> None:
    here("get", "--env-file").is_one_clear_error("--env-file needs a value", code=2)


def test_service_variables_of_kubernetes_and_docker_are_ignored(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_METRICS", "PORT_9464_TCP", "PORT_9464_TCP_PROTO",
        "PORT_9464_TCP_PORT", "PORT_9464_TCP_ADDR", "EVENTS_SERVICE_HOST", "EVENTS_PORT_9465_TCP", "PORT_53_UDP",
    ):  # fmt: skip
        monkeypatch.setenv(f"ASSURE_AGENT_{name}", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("SSH_AGENT_PID", "1")
    load_settings()
    write(own / ".env", "ASSURE_AGENT_PORT=1\n")
    with pytest.raises(WrongUse, match=r"\.env:1: ASSURE_AGENT_PORT"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (".env", 'ASSURE_AGENT_MAX_STARTS_PER_DAY="1', ".env:1: invalid line"),
        (".env", "\n# one\nASSURE_AGENT_AGENT_ID='a\n\nOTHER=1\n", ".env:3: invalid line"),
        (".env", "OTHER\nASSURE_AGENT_AGENT_ID=a\n", ".env:1: OTHER has no value"),
        (".env", "ASSURE_AGENT_AGENT_ID: a\n", ".env:1: invalid line"),
        (".env", "ASSURE_AGENT_AGENT_ID=a\nOTHER=1\nassure_agent_agent_id=b\n", "set twice, also in .env:1"),
        (".env", "ASSURE_AGENT_AGENT_ID=a".encode("utf-16"), ".env:1 is not UTF-8"),
        (".env", 'ASSURE_AGENT_SPECS_DIR="a\nASSURE_AGENT_AGENT_ID=b"\n', "U+000A"),
        ("assure-agent.yaml", b"agent_id: a\nagent_id: b\n", "assure-agent.yaml:2: AGENT_ID is set twice"),
        ("assure-agent.yaml", b"agent_id: {a: b}\n", "assure-agent.yaml:1: expected one value"),
        ("assure-agent.yaml", "agent_id: a\n---\nagent_id: b\n", "assure-agent.yaml:2:1: invalid YAML"),
        ("assure-agent.yaml", "agent_id: !!python/name:os.system\n", "assure-agent.yaml:1"),
        ("assure-agent.yaml", "just text\n", "expected names of settings"),
    ],
)
def test_a_file_is_read_completely_or_refused(
    own: Path, here: Here, name: str, content: str | bytes, expected: str
) -> None:
    write(own / name, content)
    said = here("run", "--once")
    said.is_one_clear_error(expected, code=1 if "U+" in expected else 2)
    assert expected in here("doctor", "--offline").out


@pytest.mark.parametrize("content", ["\ufeffASSURE_AGENT_AGENT_ID=ab\r\nASSURE_AGENT_CONCURRENCY='8' # all\r\n"])
def test_byte_order_marks_and_line_ends_of_other_systems_are_read(own: Path, content: str) -> None:
    (own / ".env").write_bytes(content.encode())
    (own / "assure-agent.yaml").write_bytes(
        b"\xef\xbb\xbfrate_limit: 5\r\nsink_urls:\r\n- https://a.example\r\nsink_secret: a\r\n"
    )
    settings = load_settings()
    assert (settings.agent_id, settings.concurrency, settings.rate_limit) == ("ab", 8, 5)
    assert settings.sink_urls == ["https://a.example"]


@pytest.mark.parametrize(
    "name", ["BASE_URL", "SPECS_DIR", "IMAGES_DIR", "SOURCE_NAME", "STATE_URL", "CLIENT_SECRET_FILE"]
)
def test_an_empty_value_without_a_meaning_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I2] An empty SOURCE_NAME would be another source, and every request would be verified again."""
    monkeypatch.setenv(f"ASSURE_AGENT_{name}", "")
    with pytest.raises(SettingsError, match=f"ASSURE_AGENT_{name}: expected"):
        load_settings()


def test_an_empty_backup_folder_means_no_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path must not become the working directory."""
    monkeypatch.setenv("ASSURE_AGENT_BACKUP_DIR", "")
    assert load_settings().backup_dir is None


def test_a_value_that_is_not_text_is_refused_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSURE_AGENT_SOURCE_NAME", "\udcff")
    with pytest.raises(SettingsError, match="ASSURE_AGENT_SOURCE_NAME: expected text in UTF-8"):
        load_settings()
    monkeypatch.setenv("ASSURE_AGENT_TYPO\udcff", "1")
    with pytest.raises(WrongUse, match=r"ASSURE_AGENT_TYPO\?"):
        load_settings()


_AROUND = ["\n", "\r\n", " ", "\ufeff", "\u200b", "\u00a0", "\t"]


@pytest.mark.parametrize("invisible", _AROUND, ids=ascii)
def test_invisible_characters_around_a_value_are_removed(invisible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "k" * 32
    given = {
        "BASE_URL": "https://assure.example", "STATE_URL": "sqlite:///state/agent.db", "CLAIMS_KEY": key,
        "CLIENT_ID": "me", "SPECS_DIR": "specs", "LISTEN": "127.0.0.1:1", "CONCURRENCY": "8", "POLL_INTERVAL": "7s",
        "LOG_LEVEL": "debug", "MAX_IMAGE_BYTES": "1MiB", "BACKUP_DIR": "kept",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"ASSURE_AGENT_{name}", value)
    clean = load_settings()
    for name, value in given.items():
        monkeypatch.setenv(f"ASSURE_AGENT_{name}", f"{invisible}{value}{invisible}")
    assert load_settings() == clean
    assert clean.claims_key.get_secret_value() == key


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BASE_URL", "https://host:abc", "the port is a number"),
        ("BASE_URL", "https://host:0", "the port is a number"),
        ("BASE_URL", "https://host:", "the port is a number"),
        ("BASE_URL", "https://ho st", r"U\+0020"),
        ("BASE_URL", "https://ho\nst", r"U\+000A"),
        ("BASE_URL", "https://[::1", "host is invalid"),
        ("BASE_URL", "https://1.2.3.999", "host is invalid"),
        ("BASE_URL", "https://a..b", "host is invalid"),
        ("BASE_URL", "https://häuser.example", r"U\+00E4"),
        ("TOKEN_URL", "https://elsewhere/${ASSURE_AGENT_CLAIMS_KEY}/", r"U\+007B"),
        ("SINK_URLS", "https://a.example/x y", r"U\+0020"),
        ("LISTEN", "127.0.0.1:\u0661", "HOST:PORT"),
        ("STATE_URL", "sqlite:///state/\u200bagent.db/a\tb", r"U\+200B"),
    ],
)
def test_a_url_is_checked_completely_at_the_start(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ASSURE_AGENT_{name}", value)
    with pytest.raises(SettingsError, match=expected) as raised:
        load_settings()
    assert f"ASSURE_AGENT_{name}: expected" in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_an_accepted_url_is_valid_for_the_client_as_well(text: str) -> None:
    """Otherwise the client would raise an exception later."""
    for value in (f"https://{text}", f"https://host:{text}", f"https://host/{text}"):
        try:
            checked_url(value, "https://api.signicat.com", query=True)
        except ValueError:
            continue
        assert httpx.URL(value).host.rstrip(".") == (urlsplit(value).hostname or "").rstrip(".").strip("[]")


def test_a_tilde_is_the_home_of_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "home"))
    settings = load_settings(state_url="sqlite:///~/agent.db", specs_dir="~/specs", backup_dir="~/kept")
    assert settings.state_path == folder / "home/agent.db"
    assert (settings.specs_dir, settings.backup_dir) == (folder / "home/specs", folder / "home/kept")


def test_quotes_from_docker_are_removed_and_refused_around_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSURE_AGENT_MAX_STARTS_PER_DAY", '"5"')
    monkeypatch.setenv("ASSURE_AGENT_AGENT_ID", "'ab'")
    assert (load_settings().max_starts_per_day, load_settings().agent_id) == (5, "ab")
    monkeypatch.setenv("ASSURE_AGENT_CLIENT_SECRET", '"hunter2"')
    with pytest.raises(WrongUse, match="ASSURE_AGENT_CLIENT_SECRET has quotes around it") as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("written", ["whsec_++//AAECAwQFBgc=", "whsec_++//AAECAwQFBgc", "whsec_--__AAECAwQFBgc"])
def test_a_signing_secret_is_decoded_as_receivers_do(written: str) -> None:
    key = base64.b64decode("++//AAECAwQFBgc=")
    assert signing_keys(written) == signing_keys(f"v1,{written}") == (key,)
    assert signing_keys(f"v1,{written}, v1,{written},other") == (key, key, b"other")


@pytest.mark.parametrize(
    "written", ["whsec_", "whsec_a", "whsec_ä", "whsec_a b", "WHSEC_aaaa", "whsk_aaaa", "v1,other"]
)
def test_a_signing_secret_that_cannot_be_decoded_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(SettingsError, match="ASSURE_AGENT_SINK_SECRET: expected") as raised:
        load_settings(sink_secret=written)
    assert "found" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("POLL_INTERVAL", "0", "expected a duration above 0, such as 10s; found '0' in the environment."),
        ("CONCURRENCY", "x", "expected a whole number from 1 to 1000; found 'x' in the environment."),
        ("RATE_LIMIT", "x", "expected a number from 0 to 10000; found 'x' in the environment."),
        ("RATE_LIMIT", "nan", "expected a number from 0 to 10000; found 'nan' in the environment."),
        ("BACKUP_KEEP", "0", "expected a whole number of at least 1; found '0' in the environment."),
        ("EVENTS_SIGNATURE_ENCODING", "x", "expected hex or base64; found 'x' in the environment."),
    ],
)
def test_an_error_names_expected_value_found_value_and_source(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ASSURE_AGENT_{name}", value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value) == f"ASSURE_AGENT_{name}: {expected}"


def test_an_error_in_a_file_names_its_line(own: Path) -> None:
    write(own / ".env", "# brakes\nASSURE_AGENT_CONCURRENCY=many\n")
    with pytest.raises(SettingsError, match=r"found 'many' in \.env:2\."):
        load_settings()


@pytest.mark.parametrize("path", [".", "..", "/", ":memory:", "kept/", "kept", "a\0b"])
def test_a_state_url_that_is_not_a_file_is_refused(folder: Path, path: str) -> None:
    (folder / "kept").mkdir()
    with pytest.raises(SettingsError, match="the path of a file"):
        load_settings(state_url=f"sqlite:///{path}")
    assert [one.name for one in folder.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("assure-agent.yaml", b"rate_limit: [1\n", "assure-agent.yaml:2:1: invalid YAML"),
        ("assure-agent.yaml", b"- secret\n", "assure-agent.yaml: expected names of settings"),
        ("assure-agent.yaml", b"log_level: info\nrate_limit: \xff\n", "assure-agent.yaml:2 is not UTF-8"),
        ("assure-agent.yaml", b"rate_limit: \x01\n", "assure-agent.yaml: control character U\\+0001"),
        (".env", b"A=1\nASSURE_AGENT_CLIENT_SECRET=\xff\xfe\n", ".env:2 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    folder: Path, here: Here, name: str, content: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command names it, and doctor lists it in its table."""
    monkeypatch.chdir(folder)
    (folder / ".env").write_text("OTHER=1\n")
    (folder / name).write_bytes(content)
    said = here("doctor", "--offline")
    assert (said.code, said.err) == (1, "")
    assert re.search(expected, said.out)
    with pytest.raises(SettingsError, match=expected) as raised:
        load_settings()
    assert "secret" not in str(raised.value)


async def test_a_renamed_source_is_refused_before_assure_bills_again(world: World, here: Here) -> None:
    """[I2] The name of the source is part of every uid, so every request would be new."""
    world.upload("a")
    await world.settle()
    with pytest.raises(SettingsError, match="belongs to the source default"):
        await world.settle(source_name="office")
    here.env |= {"STATE_URL": f"sqlite:///{world.state}", "SOURCE_NAME": "office"}
    (await asyncio.to_thread(here, "plan")).is_one_clear_error("SOURCE_NAME", "set it back to default")
    said = await asyncio.to_thread(here, "doctor", "--offline")
    assert "belongs to the source default" in said.out
    assert world.starts("a") == 1
