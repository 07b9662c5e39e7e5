"""A text with its origin, and the difference between prose and code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

VISIBLE = ("message", "log", "help", "template")  # the kinds that a user sees
PLACEHOLDER = "X"


@dataclass(frozen=True, order=True)
class Passage:
    """A text with its origin. `stepped`: each line of the text is one line of the file."""

    path: str
    line: int
    kind: str  # document, docstring, comment, identifier, or one of VISIBLE
    text: str
    stepped: bool = True


_SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE FROM|FROM|WHERE|AND|OR|ORDER BY|GROUP BY|CREATE|DROP|ALTER|PRAGMA|VALUES|NULL|JOIN"
    r"|LIMIT|SET|BEGIN IMMEDIATE|SAVEPOINT|RELEASE|DESC|COLLATE|INDEXED|RETURNING|CASE|UNION|EXPLAIN)\b|[<>=] ?\?|\(\?"
)
_OTHER_CODE = re.compile(
    r"^\s*[<{]|assure_agent_\w*[\[({]|apiVersion:|\(\?[P:!=]"
    r"|^[\w-]+/[\w.+-]+;|HTTP/1|\bdef |^@|^\$|^(sum|max|min|count|rate|increase|time|clamp\w*|histogram_quantile)\b.*\("
)


def is_prose(text: str) -> bool:
    """True for a text with a space and a word that is not SQL, PromQL, HTML, YAML or a regular expression."""
    return bool(re.search(r"[A-Za-z]{2}", text) and " " in text.strip()) and not (
        _SQL.search(text) or _OTHER_CODE.search(text)
    )


_DIRECTIVE = re.compile(r"^(!|noqa|type:|fmt:|mypy:|ruff:|pragma|nosec|-\*-)")


def comments(path: str, found: list[tuple[int, int, bool, str]]) -> Iterator[Passage]:
    """Build passages of comments (line, column, alone on its line, text). Adjacent lines form one passage."""
    block: list[str] = []
    start = (0, 0)
    for line, column, alone, raw in found:
        words = re.split(r"\s+#\s*", raw.lstrip("#-/*").strip())
        text = " ".join(word for word in words if not _DIRECTIVE.match(word))
        if block and alone and column == start[1] and line == start[0] + len(block):
            block.append(text)
            continue
        if block:
            yield Passage(path, start[0], "comment", "\n".join(block))
        block, start = [text], (line, column if alone else -1)
    if block:
        yield Passage(path, start[0], "comment", "\n".join(block))
