"""The two formats of settings files: NAME=value lines as in `.env`, and a YAML mapping. A file is read whole or not.

Nothing is interpolated: `${X}` stays what it is.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dotenv.parser import parse_stream

from agent.core.errors import WrongUse

_SCALARS = ("str", "int", "float", "bool", "null", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: a name as it is written there, and its text."""

    name: str
    value: str
    line: int


def text_of(content: bytes, file: str) -> str:
    """The text, without a byte order mark. Raises WrongUse with the line where it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise WrongUse(f"{file}:{line} is not UTF-8.", "save that file as UTF-8") from None


def dotenv(content: bytes, file: str) -> Iterator[Entry]:
    """The lines of a file like `.env`. Raises WrongUse at the first that cannot be read."""
    for found in parse_stream(io.StringIO(text_of(content, file), newline="")):
        blank = re.match(r"\s*", found.original.string)
        line = found.original.line + (blank[0].count("\n") if blank else 0)
        if found.error:
            raise WrongUse(
                f"{file}:{line}: this line cannot be read.", "write NAME=value, and close every quote that is opened"
            )
        if found.key is None:
            continue
        if found.value is None:
            raise WrongUse(f"{file}:{line}: {_shown(found.key)} has no value.", f"write {_shown(found.key)}=value")
        yield Entry(name=found.key, value=found.value, line=line)


def yaml(content: bytes, file: str) -> Iterator[Entry]:
    """The pairs of a YAML mapping; every value is taken as it is written, a list as its words with commas."""
    from yaml import SafeLoader, YAMLError, compose  # late: most folders have no YAML file of settings
    from yaml.nodes import MappingNode, ScalarNode

    from agent.platform.misread import misread

    text = text_of(content, file)
    try:
        document = compose(text, SafeLoader)
    except YAMLError as error:
        raise WrongUse(f"{misread(error, file)}.", "correct that file") from None
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
        words = [value] if isinstance(value, ScalarNode) else value.value
        if isinstance(value, MappingNode) or not all(_plain(word) for word in words):
            raise WrongUse(
                f"{file}:{line}: {_shown(key.value)}: expected one value or a list of them.", "write NAME: value lines"
            )
        yield Entry(name=key.value, value=",".join(_scalar(word) for word in words), line=line)


def _plain(node: object) -> bool:
    """A scalar without a tag of its own."""
    from yaml.nodes import ScalarNode

    return isinstance(node, ScalarNode) and str(node.tag).removeprefix("tag:yaml.org,2002:") in _SCALARS


def _scalar(node: object) -> str:
    empty = str(getattr(node, "tag", "")).endswith(":null")
    return "" if empty else str(getattr(node, "value", ""))


def _shown(name: str) -> str:
    """The name where it looks like one; a line that was pasted wrongly may be a secret."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", name) else "the name"
