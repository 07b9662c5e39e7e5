"""Completion in a shell: the scripts, the values, the names of requests, and silence when there is nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from agent.cli import COMPLETION_VARIABLE
from agent.cli.app import create_app
from agent.cli.selectors import OUTCOMES, PHASES, STATES
from tests.cli.command_runner import COMMAND, CommandResult, Here
from tests.cli.test_imports import CORE, imported
from tests.support.environment import World
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]


class Complete(Protocol):
    """Completes the word at the end of a line."""

    def __call__(self, line: str, shell: str = "bash") -> CommandResult: ...


@pytest.fixture
def complete(here: Here, monkeypatch: pytest.MonkeyPatch) -> Complete:
    def run(line: str, shell: str = "bash") -> CommandResult:
        words = line.split(" ")
        with monkeypatch.context() as patch:
            patch.setenv(COMPLETION_VARIABLE, f"complete_{shell}")
            if shell == "bash":
                patch.setenv("COMP_WORDS", "\n".join(words))
                patch.setenv("COMP_CWORD", str(len(words) - 1))
            else:
                patch.setenv("_TYPER_COMPLETE_ARGS", line)
                patch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
            return here()

    return run


@pytest.fixture
async def state(world: World, here: Here) -> Here:
    """A store with two requests whose names begin alike, and another."""
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    for name in ("customer-1", "customer-2", "passport"):
        world.upload(name, suspend=True)
    await world.settle()
    return here


def values(said: CommandResult) -> list[str]:
    """The completions of bash."""
    assert (said.code, said.err) == (0, ""), said
    return said.out.split()


COMMANDS = [
    "get", "get passport", "get -o wide --state suspended", "explain", "describe", "wait", "claims", "resolve", "rerun",
    "forget", "audit log", "audit export", "audit certificate",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
async def test_names_of_requests_are_completed_for_every_command(state: Here, complete: Complete, command: str) -> None:
    assert values(complete(f"assure-agent {command} cust")) == ["customer-1", "customer-2"]
    assert values(complete(f"assure-agent {command} unknown")) == []


async def test_a_name_is_completed_only_once(state: Here, complete: Complete) -> None:
    assert values(complete("assure-agent get customer-1 cust")) == ["customer-2"]


async def test_the_store_of_the_line_is_read(world: World, here: Here, complete: Complete, tmp_path: Path) -> None:
    here.folder = tmp_path  # has no store
    world.upload("passport", suspend=True)
    await world.settle()
    assert values(complete("assure-agent get ")) == []
    assert values(complete(f"assure-agent get --state-url sqlite:///{world.state} ")) == ["passport"]
    (here.folder / "other.env").write_text(f"ASSURE_AGENT_STATE_URL=sqlite:///{world.state}\n")
    (here.folder / "other.env").chmod(0o600)
    assert values(complete("assure-agent --env-file other.env get ")) == ["passport"]
    assert values(complete("assure-agent get --env-file other.env ")) == ["passport"]


async def test_the_store_of_the_sandbox_is_read_without_a_note(
    world: World, here: Here, complete: Complete, tmp_path: Path
) -> None:
    world.upload("passport", suspend=True)
    await world.settle()
    here.folder = tmp_path
    (tmp_path / "state/sandbox").mkdir(parents=True)
    (tmp_path / "state/sandbox/agent.db").write_bytes(world.state.read_bytes())
    assert values(complete("assure-agent get ")) == ["passport"]


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("get --phase ", list(PHASES)),
        ("get --state w", ["waiting"]),
        ("get --state ", list(STATES)),
        ("get --outcome ", list(OUTCOMES)),
        ("get --reason back", ["back-image-required"]),
        ("get --sort-by a", ["age"]),
        ("get -o j", ["json", "jsonpath="]),
        ("get --outp", ["--output"]),
        ("resolve a re", ["retry"]),
        ("wait --for ", ["settled"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("completi", ["completion"]),
        ("audit cert", ["certificate"]),
    ],
)
def test_commands_options_and_values_are_completed(complete: Complete, line: str, completions: list[str]) -> None:
    assert values(complete(f"assure-agent {line}")) == completions


async def test_the_other_shells_receive_their_own_form(state: Here, complete: Complete) -> None:
    assert complete("assure-agent get customer-", "fish").out == "customer-1\ncustomer-2\n"
    assert complete("assure-agent get customer-", "zsh").out == '_arguments \'*: :(("customer-1"\n"customer-2"))\'\n'


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
@pytest.mark.parametrize("line", ["get ", "explain a", "audit log ", "get --no-such-option ", "get 'a"])
def test_without_a_usable_store_nothing_is_printed(
    here: Here, complete: Complete, content: bytes | None, line: str
) -> None:
    if content is not None:
        (here.folder / "state").mkdir()
        (here.folder / "state/agent.db").write_bytes(content)
    said = complete(f"assure-agent {line}")
    assert (said.out.strip(), said.err) == ("", "")


def test_bad_settings_print_nothing(here: Here, complete: Complete) -> None:
    here.env["STATE_URL"] = "nonsense"
    said = complete("assure-agent get ")
    assert (said.out.strip(), said.err) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_variable_and_the_command(here: Here, shell: str) -> None:
    said = here("completion", shell)
    assert (said.code, said.err) == (0, "")
    assert f"{COMPLETION_VARIABLE}=complete_{shell}" in said.out
    assert "assure-agent" in said.out
    assert here("completion", "tcsh").code == 2


async def test_bash_completes_with_the_script(state: Here, world: World, tmp_path: Path) -> None:
    program = tmp_path / "assure-agent"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{COMMAND[-1]}' \"$@\"\n")
    program.chmod(0o755)
    script = (
        f"source <({program} completion bash); complete -p assure-agent; COMP_WORDS=(assure-agent get cust); "
        f'COMP_CWORD=2; _assure_agent_completion {program}; echo "${{COMPREPLY[@]}}"'
    )
    env = {"PATH": os.environ["PATH"], "ASSURE_AGENT_STATE_URL": f"sqlite:///{world.state}"}
    done = subprocess.run(["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [
        "complete -o default -F _assure_agent_completion assure-agent",
        "customer-1 customer-2",
    ]
    assert done.stderr == ""


def test_completion_imports_no_more_than_the_command() -> None:
    line = "COMP_WORDS='assure-agent\\nget\\n', COMP_CWORD='2'"
    code = f"import contextlib, os; os.environ.update({COMPLETION_VARIABLE}='complete_bash', {line})\n"
    code += "from agent.cli import main\nwith contextlib.suppress(SystemExit): main()"
    assert imported(code) == CORE


def test_every_name_of_a_request_has_a_completion() -> None:
    from typer.main import get_command

    def arguments(command: object) -> list[str]:
        below = getattr(command, "commands", {}).values()
        own = [
            f"{command.name} {one.name}"  # type: ignore[attr-defined]
            for one in getattr(command, "params", ())
            if one.name in ("name", "names") and one._custom_shell_complete is None
        ]
        return own + [missing for one in below for missing in arguments(one)]

    assert arguments(get_command(create_app())) == ["query name"]  # the name of a query
