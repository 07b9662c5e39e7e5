"""The man pages, written from the same source as docs/reference/cli: one of the program, and one of each command."""

import re
from collections.abc import Iterator

from command_line import CommandHelp, Parameter, command_help, commands, parameters, root, usage

from agent import __version__
from agent.cli.help import SECTIONS, summary
from agent.platform.settings import PREFIX, Settings

_PROGRAM = "assure-agent"


def man_pages() -> dict[str, str]:
    """The content of every page by its file name."""
    pages = {f"{_page_of(name)}.1": _command_page(name) for name in commands()}
    return {f"{_PROGRAM}.1": _program_page(), **pages}


def _page_of(name: str) -> str:
    return f"{_PROGRAM}-{name.replace(' ', '-')}"


def _command_page(name: str) -> str:
    command = commands()[name]
    said = command_help(command)
    lines = [*_head(_page_of(name), summary(command.help)), _bold(usage(name, command)), *_description(said)]
    for title, rows in parameters(command).items():
        lines += _list(f"{title}s", rows)
    lines += _exit_status(said)
    if said.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_text, said.examples), ".fi"]
    return _page([*lines, ".SH SEE ALSO", f"{_bold(_PROGRAM)}(1)"])


def _program_page() -> str:
    command, known = root(), commands()
    said = command_help(command)
    lines = [*_head(_PROGRAM, summary(command.help)), _bold(f"{_PROGRAM} [OPTIONS] COMMAND [ARGUMENTS]")]
    lines += [*_description(said), ".SH COMMANDS"]
    for section, names in SECTIONS.items():
        lines.append(f".SS {_text(section)}")
        for name in (one for one in known if one.partition(" ")[0] in names):
            lines += [".TP", f"{_bold(_page_of(name))}(1)", _text(summary(known[name].help))]
    lines += [*_list("Options", parameters(command)["Option"]), ".SH ENVIRONMENT"]
    for name, field in Settings.model_fields.items():
        lines += [".TP", _bold(PREFIX + name.upper()), _text(field.description or "")]
    lines += _exit_status(said)
    return _page([*lines, ".SH SEE ALSO", ",\n".join(f"{_bold(_page_of(name))}(1)" for name in known)])


def _head(page: str, purpose: str) -> list[str]:
    name = _text(page)
    title = f'.TH {name.upper()} 1 "" "{_text(f"{_PROGRAM} {__version__}")}" "Assure Agent"'
    lower = purpose[0].lower() + purpose[1:].removesuffix(".")
    return [title, ".SH NAME", f"{name} \\- {_text(lower)}", ".SH SYNOPSIS"]


def _description(said: CommandHelp) -> list[str]:
    return [".SH DESCRIPTION", *(line for part in said.paragraphs for line in (".PP", _text(part)))]


def _list(title: str, rows: list[Parameter]) -> Iterator[str]:
    """A section with each parameter and its meaning; nothing without parameters."""
    if rows:
        yield f".SH {title.upper()}"
    for row in rows:
        default = f" Default: {row.default}." if row.default else ""
        yield from (".TP", ", ".join(map(_bold, row.names)), _text(row.meaning + default))


def _exit_status(said: CommandHelp) -> list[str]:
    return [".SH EXIT STATUS", _text(said.exit_codes)] if said.exit_codes else []


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _text(text: str) -> str:
    """Text for troff. A word in backticks is bold. A line that begins with a control character gets a zero width."""
    shown = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(text))
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def _page(lines: list[str]) -> str:
    return "\n".join(['.\\" Written by `make docs`; edit the help of the command instead.', *lines]) + "\n"
