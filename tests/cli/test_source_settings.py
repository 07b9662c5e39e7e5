"""The settings of a git source: each mistake has a clear error, and no secret shows."""

import pytest

from agent import DOCUMENTATION
from tests.cli.command_runner import Here

URL = "https://git.example/team/requests.git"
SSH = "git@git.example:team/requests.git"
KEYS = {"SOURCE_SSH_KEY_FILE": "key", "SOURCE_KNOWN_HOSTS_FILE": "hosts"}
SECRET = "0123456789abcdefgh"

MISTAKES = [
    # (the settings, the parts of the message)
    ({"SOURCE_URL": "/srv/r.git"}, ("SOURCE_URL: expected a URL such as https://", "found '/srv/r.git' in the env")),
    ({"SOURCE_URL": "http://git.example/r"}, ("SOURCE_URL: expected https or ssh; plain http", "found 'http://git")),
    (
        {"SOURCE_URL": f"https://bot:{SECRET}@git.example/r"},
        ("SOURCE_URL: expected a URL without a password or token; the token goes into the file of SOURCE_TOKEN_FILE",),
    ),
    ({"SOURCE_URL": f"https://ghp_{SECRET}@git.example/r"}, ("SOURCE_URL: expected a URL without", "plain user name")),
    (
        {"SOURCE_URL": f"ssh://git:{SECRET}@git.example/r"},
        ("SOURCE_URL: expected a URL without", "the private key goes into SOURCE_SSH_KEY_FILE"),
    ),
    ({"SOURCE_URL": URL, "SOURCE_BRANCH": "refs/heads/main"}, ("SOURCE_BRANCH: ", "without refs/heads/", "found 'r")),
    ({"SOURCE_URL": URL, "SOURCE_BRANCH": "a..b"}, ("SOURCE_BRANCH: expected the name of a branch", "found 'a..b'")),
    ({"SOURCE_URL": URL, "SOURCE_PATH": "../specs"}, ("SOURCE_PATH: expected a path below", "found '../specs'")),
    ({"SOURCE_URL": URL, "SOURCE_INTERVAL": "100ms"}, ("SOURCE_INTERVAL: expected a duration of at least 1s", "100ms")),
    ({"SOURCE_URL": URL, "SOURCE_VERIFY": "all"}, ("SOURCE_VERIFY: expected off, head or each; found 'all'",)),
    ({"SOURCE_URL": URL, "SOURCE_WEB_URL": "http://x.example"}, ("SOURCE_WEB_URL: expected https; plain http",)),
    ({"SOURCE_URL": URL, "SOURCE_HOOK_SECRET": "x"}, ("SOURCE_HOOK_SECRET: expected 16 characters or more", "not 1;")),
    ({"SOURCE_URL": URL, "SOURCE_HOOK_SECRET": f"{SECRET},short"}, ("expected 16 characters", "not 5; set in the env")),
    ({"SOURCE_PATH": "specs"}, ("SOURCE_PATH needs SOURCE_URL",)),
    ({"SOURCE_VERIFY": "head"}, ("SOURCE_VERIFY needs SOURCE_URL",)),
    ({"SOURCE_HOOK_SECRET": SECRET}, ("SOURCE_HOOK_SECRET needs SOURCE_URL",)),
    ({"SOURCE_URL": URL, "SPECS_DIR": "specs"}, ("SPECS_DIR (or --specs) is set, and SOURCE_URL as well",)),
    ({"SOURCE_URL": URL, "SOURCE_OWNER": "root"}, ("SOURCE_OWNER is for SPECS_DIR", "SOURCE_VERIFY")),
    ({"SOURCE_URL": "file:///r", "SOURCE_TOKEN_FILE": "t"}, ("SOURCE_TOKEN_FILE is for an https", "is a file one")),
    ({"SOURCE_URL": SSH, **KEYS, "SOURCE_TOKEN_FILE": "t"}, ("SOURCE_TOKEN_FILE is for an https", "is an ssh one")),
    (
        {"SOURCE_URL": URL, "SOURCE_SSH_KEY_FILE": "k"},
        ("SOURCE_SSH_KEY_FILE is for an ssh repository", "is an https one"),
    ),
    ({"SOURCE_URL": "file:///r", **KEYS}, ("SOURCE_SSH_KEY_FILE is for an ssh repository", "is a file one")),
    ({"SOURCE_URL": SSH}, ("SOURCE_SSH_KEY_FILE is not set",)),
    ({"SOURCE_URL": SSH, "SOURCE_SSH_KEY_FILE": "k"}, ("SOURCE_KNOWN_HOSTS_FILE is not set", "ssh-keyscan")),
    ({"SOURCE_URL": URL, "SOURCE_VERIFY": "each"}, ("SOURCE_VERIFY is each", "SOURCE_ALLOWED_SIGNERS_FILE or")),
    ({"SOURCE_URL": URL, "SOURCE_ALLOWED_SIGNERS_FILE": "s"}, ("SOURCE_ALLOWED_SIGNERS_FILE is set, but SOURCE_VER",)),
    (
        {"SOURCE_URL": URL, "SOURCE_VERIFY": "head", "SOURCE_GPG_KEYRING": "k", "SOURCE_REVOKED_SIGNERS_FILE": "r"},
        ("SOURCE_REVOKED_SIGNERS_FILE needs SOURCE_ALLOWED_SIGNERS_FILE",),
    ),
]


@pytest.mark.parametrize(("settings", "parts"), MISTAKES)
def test_a_mistake_in_a_setting_of_the_source(here: Here, settings: dict[str, str], parts: tuple[str, ...]) -> None:
    said = here("config", "view", **settings)
    said.is_one_clear_error("ASSURE_AGENT_", *parts, f"{DOCUMENTATION}/reference/settings.html")
    assert SECRET not in said.err + said.out
    assert ".." not in said.err.replace("../specs", "").replace("`..`", "").replace("a..b", "")


@pytest.mark.parametrize(
    "settings",
    [
        {"SOURCE_URL": URL, "SOURCE_TOKEN_FILE": "t", "SOURCE_HOOK_SECRET": f"{SECRET}, {SECRET}2"},
        {"SOURCE_URL": SSH, **KEYS, "SOURCE_VERIFY": "each", "SOURCE_ALLOWED_SIGNERS_FILE": "s"},
        {"SOURCE_URL": "file:///srv/r.git", "SOURCE_VERIFY": "head", "SOURCE_GPG_KEYRING": "k"},
        {"SOURCE_URL": "", "SOURCE_BRANCH": "main", "SOURCE_VERIFY": "off", "SPECS_DIR": "specs"},
    ],
)
def test_settings_that_agree(here: Here, settings: dict[str, str]) -> None:
    said = here("config", "view", "-o", "json", **settings)
    assert said.code == 0, said
    shown = {item["name"].removeprefix("ASSURE_AGENT_"): item["value"] for item in said.json["items"]}
    assert shown["SOURCE_URL"] == settings["SOURCE_URL"]
    assert shown["SOURCE_HOOK_SECRET"] == ("set" if "SOURCE_HOOK_SECRET" in settings else "not set")
    assert SECRET not in said.out


def test_the_settings_of_the_source_follow_those_of_assure_and_precede_the_store(here: Here) -> None:
    names = [item["name"].removeprefix("ASSURE_AGENT_") for item in here("config", "view", "-o", "json").json["items"]]
    places = [names.index(name) for name in ("BASE_URL", "SPECS_DIR", "SOURCE_URL", "STATE_URL")]
    assert places == sorted(places)


def test_specs_on_the_command_line_and_a_repository_exclude_each_other(here: Here) -> None:
    here("plan", "--specs", "specs", SOURCE_URL=URL).is_one_clear_error("SPECS_DIR (or --specs) is set")
