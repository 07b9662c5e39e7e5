r"""Templates with JSONPath in braces, as in `kubectl -o jsonpath`.

`{.items[*].name}` prints the values with spaces between them. `{range .items[*]}{.name}{"\n"}{end}` repeats a part.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jsonpath
import orjson

from agent.core.errors import WrongUse

_BRACES = re.compile(r"""\{((?:[^{}"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*)\}""")
_HINT = """-o jsonpath='{range .items[*]}{.name}{"\\n"}{end}'"""


class Template:
    """A parsed template."""

    def __init__(self, text: str) -> None:
        """Raises WrongUse for a text without an expression, and for an invalid expression."""
        if not _BRACES.search(text):
            raise WrongUse("jsonpath: the template has no expression in braces.", "-o jsonpath='{.items[*].name}'")
        tokens = iter(_BRACES.split(text))
        self._parts = list(_parse(tokens, nested=False))

    def render(self, document: Any) -> str:
        """The text for a document of dicts, lists, texts, numbers and None."""
        return "".join(_render(self._parts, document))


class _Expression:
    """Prints the values of a path."""

    def __init__(self, path: str) -> None:
        self.path = _compile(path)


class _Range(_Expression):
    """Prints its parts for each value of a path."""

    def __init__(self, path: str, parts: Sequence["_Part"]) -> None:
        super().__init__(path)
        self.parts = parts


_Part = str | _Expression


def _parse(tokens: Iterator[str], nested: bool) -> Iterator[_Part]:
    """The parts up to the end of the template, or of the range. Tokens are text and braces in turn."""
    for text in tokens:
        if "{" in text or "}" in text:
            raise WrongUse(f"jsonpath: the braces do not match at {text!r}.", _HINT)
        yield text
        inside = next(tokens, None)
        if inside is None:
            break
        inside = inside.strip()
        if inside == "end":
            if not nested:
                raise WrongUse("jsonpath: {end} has no {range}.", _HINT)
            return
        if inside.startswith("range "):
            yield _Range(inside.removeprefix("range "), list(_parse(tokens, nested=True)))
        elif inside[:1] in ('"', "'"):
            yield _literal(inside)
        else:
            yield _Expression(inside)
    if nested:
        raise WrongUse("jsonpath: {range} has no {end}.", _HINT)


def _literal(quoted: str) -> str:
    r"""The text of `"\n"` or `'\n'`."""
    text = quoted[1:-1].replace('"', '\\"') if quoted[0] == "'" else quoted[1:-1]
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        raise WrongUse(f"jsonpath: {quoted} is not a text.", _HINT) from None


def _compile(path: str) -> Any:
    """The compiled path. kubectl omits the root `$`, and calls the current value `@`."""
    path = path.strip()
    if path in (".", "@", "$"):
        path = "$"
    elif path.startswith((".", "[")):
        path = f"${path}"
    elif path.startswith("@"):
        path = f"${path[1:]}"
    try:
        return jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        cause = str(error).partition("\n")[0]
        raise WrongUse(f"jsonpath: {{{path}}} is not a path ({cause}).", _HINT) from None


def _render(parts: Sequence[_Part], value: Any) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Range):
            for one in part.path.findall(value):
                yield from _render(part.parts, one)
        else:
            yield " ".join(map(_text, part.path.findall(value)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
