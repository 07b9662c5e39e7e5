"""The help: whole summaries in sections, the same at any width, and `help`."""

import pytest
import typer.main

from agent.cli.app import create_app
from agent.cli.help import SECTIONS, summary
from tests.cli.command_runner import Here


def commands() -> dict[str, str]:
    """The help text of every command and group by its full name."""
    found: dict[str, str] = {}
    for name, command in typer.main.get_command(create_app()).commands.items():  # type: ignore[attr-defined]
        found[name] = command.help or ""
        found |= {f"{name} {sub}": one.help or "" for sub, one in getattr(command, "commands", {}).items()}
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_summary_is_one_whole_sentence_of_at_most_60_characters(name: str) -> None:
    said = summary(commands()[name])
    assert len(said) <= 60, said
    assert said[0].isupper()
    assert ":" not in said


def test_every_command_of_the_sections_exists_and_no_other() -> None:
    assert {name for name in commands() if " " not in name} == {one for names in SECTIONS.values() for one in names}


def test_the_help_lists_whole_summaries_in_sections_the_same_at_any_width(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = here("--help").out
    titles = [line.removesuffix(":") for line in said.splitlines() if line.removesuffix(":") in SECTIONS]
    assert titles == list(SECTIONS)
    words = " ".join(said.split())
    for name, text in commands().items():
        if " " not in name:
            assert f"{name} {summary(text)}" in words
    assert "..." not in said.partition("Start:")[2]
    assert "\x1b" not in said
    monkeypatch.setenv("COLUMNS", "40")
    assert here("--help").out == said


def test_the_help_of_a_group_lists_its_commands(here: Here) -> None:
    said = " ".join(here("audit", "--help").out.split())
    assert f"Commands: log {summary(commands()['audit log'])}" in said


def test_help_shows_the_help_of_a_command(here: Here) -> None:
    assert here("help").out == here("--help").out
    assert here("help", "plan").out == here("plan", "--help").out
    assert here("help", "audit", "verify").out == here("audit", "verify", "--help").out
    said = here("help", "nonsense")
    assert (said.code, said.out) == (2, "")
    assert "nonsense" in said.err
