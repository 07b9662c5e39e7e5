"""`assure-agent completion`: complete commands, options, values and names of requests in a shell.

The script that this command prints runs `assure-agent` with COMPLETION_VARIABLE, and the line in another variable. Then
Typer prints the completions instead of running a command.
"""

import contextlib
import os
from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_classes import completion_init  # public only as Typer's own options, which write start-up files
from typer._completion_shared import get_completion_script

from agent.cli import COMPLETION_VARIABLE, shared_options


class Shell(StrEnum):
    """A shell that completes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the script that completes words in a shell.

    It completes commands, options, values of options, and names of requests.

    In bash or zsh: `source <(assure-agent completion bash)`. In fish: `assure-agent completion fish | source`. To keep
    it, write this line to the start-up file of the shell.

    Exit codes: 0 printed.

    Example: assure-agent completion bash
    """
    script = get_completion_script(prog_name="assure-agent", complete_var=COMPLETION_VARIABLE, shell=shell.value)
    typer.echo(script)


def print_completions() -> int:
    """Print the completions of the line in the environment, and nothing if the line is not valid. Returns the exit
    code that the script expects.

    Only the command of the line is imported.
    """
    from agent.cli.app import create_app

    completion_init()
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    try:
        with contextlib.suppress(Exception), shared_options(line.split()[1:]) as arguments:
            create_app(arguments)([], prog_name="assure-agent")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 1
