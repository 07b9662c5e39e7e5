"""Rules of prose in the format of Vale (styles/), applied to passages: existence, substitution and occurrence.

A real Vale reads the same `.vale.ini` and styles. The package `vale` on PyPI contains no binary and downloads one at
its first run. `make check` needs no network, so this module applies the rules.
"""

import fnmatch
import re
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from prose.passage import PLACEHOLDER, Passage

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|vs|cf|approx|No)\.$")
_END = re.compile(r"[.!?][\"')\]”*]*\s+")
_VALUES = re.compile(rf"{PLACEHOLDER}(?:, {PLACEHOLDER})+")


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule. `level`: error or warning."""

    path: str
    line: int
    rule: str
    level: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


class Rule:
    """One file of a style."""

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = name
        self.level = fields["level"]
        self._fields = fields

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Patterns, each with the replacement that the message names, or '' without one."""
        form = "{}" if self._fields.get("nonword") else r"\b(?:{})\b"
        kind, flags = self._fields["extends"], re.IGNORECASE if self._fields.get("ignorecase") else 0
        if kind == "substitution":
            return [(re.compile(form.format(key), flags), value) for key, value in self._fields["swap"].items()]
        if kind == "existence":
            return [(re.compile("|".join(form.format(one) for one in self._fields["tokens"]), flags), "")]
        assert kind == "occurrence", kind
        return [(re.compile(self._fields["token"], flags), "")]

    def check(self, block: str) -> Iterator[tuple[int, str]]:
        """Yield each offset in a block with a message."""
        whole = self._fields.get("scope") != "sentence"
        for start, text in [(0, block)] if whole else sentences(block):
            for pattern, replacement in self._patterns:
                found = list(pattern.finditer(text))
                if self._fields["extends"] == "occurrence":
                    if len(found) > self._fields["max"]:
                        yield start, f"{self._fields['message']} It has {len(found)}: {_short(text)}"
                else:
                    for match in found:
                        names = (replacement, match[0]) if replacement else (_short(match[0]),)
                        yield start + match.start(), self._fields["message"] % names


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def sentences(block: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a block, each with its offset."""
    start = 0
    for end in _END.finditer(block):
        if not _ABBREVIATION.search(block[: end.start() + 1]) and not block[end.end() : end.end() + 1].islower():
            yield start, block[start : end.end()].rstrip()
            start = end.end()
    if block[start:].strip():
        yield start, block[start:].rstrip()


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs, headings, items and cells of a Markdown text, each with its line, counted from 0.

    Code blocks, lists of values and HTML are omitted. Inline code becomes a placeholder.
    """
    for token in _MARKDOWN.parse(_unindent_admonitions(text)):
        if token.type == "inline" and token.map is not None:
            block = "".join(_inline(child) for child in token.children or [])
            if not _VALUES.fullmatch(block):
                yield token.map[0], block


def _inline(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    return {"text": token.content, "image": token.content, "code_inline": PLACEHOLDER}.get(token.type, "")


def _unindent_admonitions(text: str) -> str:
    """Remove the indentation of admonitions and tabs. In mkdocs their text is prose. In plain Markdown it is code."""
    lines, inside = [], False
    for line in text.split("\n"):
        if re.match(r"(!!!|\?\?\?\+?|===) ", line):
            inside = True
        elif line.strip() and not line.startswith("    "):
            inside = False
        lines.append(line[4:] if inside and line.startswith("    ") else line)
    return "\n".join(lines)


class Style:
    """The rules that `.vale.ini` names, and the name parts that the glossary forbids."""

    def __init__(self, root: Path) -> None:
        self._config = ConfigParser(delimiters=("=",))
        self._config.optionxform = str  # type: ignore[assignment, method-assign]
        self._config.read_string("[top]\n" + (root / ".vale.ini").read_text())
        folder = root / self._config["top"]["StylesPath"]
        based = self._config["*"]["BasedOnStyles"].split(", ")
        found = [path for name in based for path in sorted((folder / name).glob("*.yml"))]
        self.rules = [Rule(f"{path.parent.name}.{path.stem}", yaml.safe_load(path.read_text())) for path in found]
        names = yaml.safe_load((folder / "config/identifiers.yml").read_text())
        self._banned, self._allowed = set(names["banned"]), set(names["allowed"])

    def check(self, passage: Passage) -> Iterator[Finding]:
        """The findings in a passage, with the line of the file."""
        if passage.kind == "identifier":
            yield from self._identifier(passage)
            return
        rules = [rule for rule in self.rules if self._applies(rule, passage.path)]
        for line, block in blocks(passage.text):
            for rule in rules:
                for offset, message in rule.check(block):
                    at = passage.line + (line + block.count("\n", 0, offset)) * passage.stepped
                    yield Finding(passage.path, at, rule.name.split(".")[1], rule.level, message)

    def _applies(self, rule: Rule, path: str) -> bool:
        found = [self._config[one].get(rule.name) for one in self._config.sections() if fnmatch.fnmatch(path, one)]
        return "NO" not in found

    def _identifier(self, passage: Passage) -> Iterator[Finding]:
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", passage.text)
        for part in parts if passage.text not in self._allowed else ():
            if part.lower() in self._banned:
                message = f"the name '{passage.text}' contains '{part}'."
                yield Finding(passage.path, passage.line, "Identifiers", "error", message)
