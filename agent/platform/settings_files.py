"""The two formats of settings files: NAME=value lines as in `.env`, and a YAML mapping.

A file is read completely or refused. `${X}` is not interpolated.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream

from agent.core.errors import WrongUse

DOTENV = ".env"
YAML_FILE = "assure-agent.yaml"
SECRETS = Path("/run/secrets")
_SCALARS = ("str", "int", "float", "bool", "null", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEntry:
    """One line: the name as written in the file, and its text."""

    name: str
    value: str
    line: int


def read_text(content: bytes, file: str) -> str:
    """The text, without a byte order mark. Raises WrongUse with the first line that is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise WrongUse(f"{file}:{line} is not UTF-8.", "save that file as UTF-8") from None


def dotenv(content: bytes, file: str) -> Iterator[SettingEntry]:
    """The lines of a file like `.env`. Raises WrongUse for the first invalid line."""
    for found in parse_stream(io.StringIO(read_text(content, file), newline="")):
        blank = re.match(r"\s*", found.original.string)
        line = found.original.line + (blank[0].count("\n") if blank else 0)
        if found.error:
            raise WrongUse(f"{file}:{line}: invalid line.", "write NAME=value, and close each quote")
        if found.key is None:
            continue
        if found.value is None:
            raise WrongUse(f"{file}:{line}: {_shown(found.key)} has no value.", f"write {_shown(found.key)}=value")
        yield SettingEntry(name=found.key, value=found.value, line=line)


def yaml(content: bytes, file: str) -> Iterator[SettingEntry]:
    """The pairs of a YAML mapping. A value stays as written; a list becomes comma-separated text."""
    from yaml import SafeLoader, YAMLError, compose  # imported late: most folders have no YAML file of settings
    from yaml.nodes import MappingNode, ScalarNode

    text = read_text(content, file)
    try:
        document = compose(text, SafeLoader)
    except YAMLError as error:
        raise WrongUse(f"{_yaml_error(error, file)}.", "correct that file") from None
    except RecursionError:
        raise WrongUse(f"{file} is nested too deeply.", "write NAME: value lines") from None
    if document is None:
        return
    if not isinstance(document, MappingNode):
        raise WrongUse(f"{file}: expected names of settings, each with its value.", "write NAME: value lines")
    for key, value in document.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise WrongUse(f"{file}:{line}: expected the name of a setting.", "write NAME: value lines")
        parts = [value] if isinstance(value, ScalarNode) else value.value
        if isinstance(value, MappingNode) or not all(_plain(word) for word in parts):
            raise WrongUse(
                f"{file}:{line}: expected one value or a list of them for {_shown(key.value)}.",
                "write NAME: value lines",
            )
        yield SettingEntry(name=key.value, value=",".join(_scalar(word) for word in parts), line=line)


def _yaml_error(error: Exception, file: str) -> str:
    """The place in the file, and the character that YAML does not allow. No value of the file."""
    from yaml.reader import ReaderError

    place = getattr(error, "problem_mark", None)
    if place is not None:
        return f"{file}:{place.line + 1}:{place.column + 1}: invalid YAML"
    if isinstance(error, ReaderError) and not isinstance(error.character, bytes):
        return f"{file}: control character U+{error.character:04X}"
    return f"{file}: invalid YAML"


def _plain(node: object) -> bool:
    """A scalar without a tag of its own."""
    from yaml.nodes import ScalarNode

    return isinstance(node, ScalarNode) and str(node.tag).removeprefix("tag:yaml.org,2002:") in _SCALARS


def _scalar(node: object) -> str:
    empty = str(getattr(node, "tag", "")).endswith(":null")
    return "" if empty else str(getattr(node, "value", ""))


def _shown(name: str) -> str:
    """The name if it has the form of a name. A misplaced line may be a secret."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", name) else "the name"
