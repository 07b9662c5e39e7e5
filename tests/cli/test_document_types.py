"""`document-types` and `schema`: the valid content of a request file."""

import json
from pathlib import Path

import pytest
import yaml

from agent.core.request_schema import request_schema
from agent.sandbox import SandboxServer
from agent.sandbox.faults.rules import Kind, Rule
from tests.cli.command_runner import Here
from verification.builders.request_files import capture, write

HOOKS = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())


@pytest.fixture
def there(here: Here, remote: SandboxServer) -> Here:
    """A command with a running sandbox."""
    here.env["BASE_URL"] = remote.url
    return here


def test_the_list_as_a_table_and_as_json(there: Here) -> None:
    lines = there("document-types", "--country", "NLD").out.splitlines()
    assert lines[0].split() == ["ID", "COUNTRY", "TYPE", "NAME", "SUBTYPE", "ICAO"]
    assert len(lines) == 5
    assert there("document-types", "--country", "nld", "--type", "passport", "-o", "json").json == [
        {
            "id": 137,
            "country": "NLD",
            "countryName": "Netherlands",
            "type": "passport",
            "name": "Netherlands Passport",
            "subType": "Passport",
            "icao": "TD3",
        }
    ]
    assert {row["country"] for row in there("document-types", "germany", "-o", "json").json} == {"DEU"}
    assert not (there.folder / "state").exists()


def test_the_list_of_the_sandbox_needs_no_account(here: Here) -> None:
    here.env.clear()
    here.env["TOKEN_URL"] = "https://elsewhere.example/token"
    rows = here("document-types", "--sandbox", "--country", "NLD", "-o", "json").json
    assert 137 in {row["id"] for row in rows}
    assert not (here.folder / "state").exists()


def test_an_empty_list_is_a_success_with_a_hint(there: Here) -> None:
    said = there("document-types", "--country", "XXX")
    assert (said.code, said.err) == (0, "")
    assert "Try: " in said.out
    assert there("document-types", "nothing like it", "-o", "json").json == []


def test_without_credentials(here: Here) -> None:
    here.env.clear()
    here("document-types").is_one_clear_error("CLIENT_ID")


def test_with_wrong_credentials(there: Here) -> None:
    there("document-types", CLIENT_SECRET="wrong").is_one_clear_error("client id and secret")


def test_without_an_answer(here: Here) -> None:
    here("document-types", BASE_URL="http://127.0.0.1:9").is_one_clear_error("http://127.0.0.1:9", "cannot be reached")


@pytest.mark.parametrize(
    ("kind", "word"), [(Kind.INTERNAL, "HTTP 500"), (Kind.FOREIGN, "HTTP")], ids=["status 500", "foreign page"]
)
def test_an_undocumented_answer(there: Here, remote: SandboxServer, kind: Kind, word: str) -> None:
    remote.faults.add([Rule(operation="getDocumentTypes", kind=kind, nth=1)])
    there("document-types").is_one_clear_error("document types", word)


def test_the_schema_is_printed_and_needs_nothing(here: Here) -> None:
    here.env.clear()
    said = here("schema")
    assert (said.code, json.loads(said.out)) == (0, request_schema())


def test_the_pre_commit_hook_finds_a_name_that_two_files_share(here: Here) -> None:
    here.env.clear()
    (hook,) = HOOKS
    assert (hook["id"], hook["language"], hook["pass_filenames"]) == ("assure-agent-validate", "python", False)
    command, *arguments = [*hook["entry"].split(), *hook["args"]]
    assert command == "assure-agent"
    write(here.folder / "specs/a.yaml", capture("same"))
    assert here(*arguments).code == 0
    write(here.folder / "specs/team/b.yaml", capture("same"))
    said = here(*arguments)
    assert said.code == 5
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["specs/a.yaml", "specs/team/b.yaml"]
    assert not (here.folder / "state").exists()
