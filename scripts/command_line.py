"""The commands with their help and parameters: the source of the reference pages and of the man pages."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer.main

from agent.cli.app import create_app


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHelp:
    """The help of a command in parts. `examples` are command lines."""

    paragraphs: list[str]
    exit_codes: str
    examples: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument or an option: each form in which it is written, and its meaning. `default` may be empty."""

    names: list[str]
    required: bool
    default: str
    meaning: str


def root() -> Any:
    """The application as a command."""
    return typer.main.get_command(create_app())


@cache
def commands() -> dict[str, Any]:
    """Every command by its full name, such as `audit log`. A group with its own action counts as a command."""
    found: dict[str, Any] = {}
    for name, command in root().commands.items():
        below = getattr(command, "commands", {})
        if not below or command.invoke_without_command:
            found[name] = command
        found |= {f"{name} {sub}": one for sub, one in below.items()}
    return found


def command_help(command: Any) -> CommandHelp:
    """The help of a command without line breaks."""
    parts = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    text = [part for part in parts if not part.startswith(("Example: ", "Exit codes: "))]
    exit_codes = [part.removeprefix("Exit codes: ") for part in parts if part.startswith("Exit codes: ")]
    examples = [part.removeprefix("Example: ") for part in parts if part.startswith("Example: ")]
    return CommandHelp(paragraphs=text, exit_codes=" ".join(exit_codes), examples=examples)


def usage(name: str, command: Any) -> str:
    """The command line in short."""
    arguments = [(one, _argument(one)) for one in command.params if type(one).__name__ == "TyperArgument"]
    shown = [text if one.required or text[0] == "[" else f"[{text}]" for one, text in arguments]
    return " ".join(["assure-agent", name, "[OPTIONS]", *shown])


def parameters(command: Any) -> dict[str, list[Parameter]]:
    """The arguments and options of a command, without `--help`."""
    kinds = {"Argument": "TyperArgument", "Option": "TyperOption"}
    return {
        title: [_parameter(one) for one in command.params if type(one).__name__ == kind and one.name != "help"]
        for title, kind in kinds.items()
    }


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _parameter(parameter: Any) -> Parameter:
    if type(parameter).__name__ == "TyperArgument":
        names = [_argument(parameter)]
    else:
        value = "" if parameter.is_flag else f" {parameter.name.upper()}"
        names = [f"{name}{value}" for name in [*parameter.opts, *parameter.secondary_opts]]
    default = parameter.default
    shown = (
        "" if parameter.required or default in (None, False, True, "", ()) else str(getattr(default, "value", default))
    )
    meaning = re.sub(r"\s+", " ", parameter.help or "")
    return Parameter(names=names, required=parameter.required, default=shown, meaning=meaning)
