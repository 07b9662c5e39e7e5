"""Turn YAML text into plain values with the line and column of each, from the events of the parser.

PyYAML's C loader crashes the interpreter on deep nesting, accepts duplicate keys, turns `no` into False and has no
positions. Events are iterative. This reader refuses anchors, aliases, tags, merge keys, duplicate keys, keys that are
not text, control characters, and more than `Limits` allows. It reads plain scalars as YAML 1.2 does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from agent.source.diagnostics import dotted

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its events are used

_NODES = (ScalarEvent, CollectionStartEvent)

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:e[-+]?[0-9]+)?|[-+]?\.inf|\.nan")  # in lower case
_NULLS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_NULLS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)

Path = tuple[str | int, ...]
_NAME: Path = ("metadata", "name")
Position = tuple[int, int]  # line and column, from 1


class RefusedValue:
    """A placeholder for a value that was refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a file: bytes, levels of nesting, and values of all documents together."""

    file_bytes: int = 1 << 20
    depth: int = 32
    nodes: int = 20_000


@dataclass(frozen=True, slots=True)
class YamlProblem:
    """A fault without the name of its file."""

    mark: Position
    message: str
    hint: str


@dataclass(slots=True)
class YamlDocument:
    """One document. `cut` is True if the reader stopped before its end: no document follows it.

    `keys` and `values` have the event of each key and value. Few positions are ever asked for.
    """

    value: object = None
    name: object = None  # metadata.name as written, even if the document is cut after it
    keys: dict[Path, Event] = field(default_factory=dict)
    values: dict[Path, Event] = field(default_factory=dict)
    problems: list[YamlProblem] = field(default_factory=list)
    cut: bool = False

    def position_of(self, path: Path) -> Position:
        """The position of a value; for a missing value, the position of its nearest parent."""
        while path not in self.values and path:
            path = path[:-1]
        return _mark(self.values.get(path))

    def position_of_key(self, path: Path) -> Position:
        """The position of the key of a value; for a missing key, that of its nearest parent's value."""
        key = self.keys.get(path)
        return self.position_of(path) if key is None else _mark(key)


class _Cut(Exception):
    """The reader stops here and ignores the rest of the file."""


def parse_documents(text: str, limits: Limits) -> Iterator[YamlDocument]:
    """Each document of a text, in order, up to the first that is `cut`. Never raises."""
    builder = _Builder(iter(_PARSER(text).get_event, None), limits)
    while (tree := builder.document()) is not None:
        yield tree
        if tree.cut:
            return


class _Builder:
    def __init__(self, events: Iterator[Event], limits: Limits) -> None:
        self._events, self._limits = events, limits
        self._nodes = 0
        self._tree = YamlDocument()

    def document(self) -> YamlDocument | None:
        """The next document, or None at the end."""
        self._tree = tree = YamlDocument()
        try:
            for event in self._events:
                if isinstance(event, DocumentStartEvent):
                    tree.value = self._value(next(self._events), ())
                    return tree
        except yaml.YAMLError as error:
            tree.problems.append(_syntax(error))
            tree.cut = True
            return tree
        except _Cut:
            tree.cut = True
            return tree
        return None

    def _value(self, event: Event, path: Path) -> object:
        self._tree.values[path] = event
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise self._cut(event, f"more than {self._limits.nodes} values", "split the file")
        if len(path) > self._limits.depth:
            raise self._cut(event, f"nested deeper than {self._limits.depth} levels", "flatten the document")
        if isinstance(event, AliasEvent):
            self._refuse(event, "aliases (`*`) are not allowed", "write the value itself")
            return RefusedValue
        assert isinstance(event, _NODES)
        if event.anchor is not None:
            self._refuse(event, "anchors (`&`) are not allowed", "remove the anchor")
        if event.tag is not None:
            self._refuse(event, "tags (`!`) are not allowed", "remove the tag")
        if not isinstance(event, ScalarEvent):
            return self._mapping(path) if isinstance(event, MappingStartEvent) else self._sequence(path)
        if event.style == '"' and CONTROL.search(event.value):  # only an escape sequence can produce one
            self._refuse(event, "control characters are not allowed", "remove the escape sequence")
            return RefusedValue
        value = event.value if event.style else _plain(event.value)
        if path == _NAME:
            self._tree.name = value
        return value

    def _sequence(self, path: Path) -> list[object]:
        values: list[object] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            values.append(self._value(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path, values)
            if key is None:
                self._skip()
                continue
            below = (*path, key)
            self._tree.keys[below] = event
            values[key] = self._value(next(self._events), below)
        return values

    def _key(self, event: Event, path: Path, taken: dict[str, object]) -> str | None:
        """The key; None if it was refused, and then its fault is recorded."""
        if not isinstance(event, ScalarEvent):
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                self._skip(levels=1)
            self._refuse(event, "expected text as a key", "write `key: value`")
            return None
        key = event.value
        if event.anchor is not None or event.tag is not None:
            self._refuse(event, "anchors and tags are not allowed", "remove it")
        if key == "<<" and not event.style:
            self._refuse(event, "merge keys (`<<`) are not allowed", "write the fields themselves")
        elif (event.style == '"' and CONTROL.search(key)) or not (event.style or isinstance(_plain(key), str)):
            self._refuse(event, "expected text as a key", "put the key in quotes")
        elif key in taken:
            first = _mark(self._tree.keys[*path, key])[0]
            self._refuse(event, f"duplicate key {dotted((*path, key))}, first at line {first}", "remove one of the two")
        else:
            return key
        return None

    def _skip(self, levels: int = 0) -> None:
        """Skip one value, or the rest of the `levels` that are open."""
        while True:
            event = next(self._events)
            self._nodes += 1
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                levels += 1
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                levels -= 1
            if levels > self._limits.depth or self._nodes > self._limits.nodes:
                raise self._cut(event, "the document is too large or nested too deeply", "shorten it")
            if levels == 0:
                return

    def _refuse(self, event: Event, message: str, hint: str) -> None:
        self._tree.problems.append(YamlProblem(_mark(event), message, hint))

    def _cut(self, event: Event, message: str, hint: str) -> _Cut:
        self._refuse(event, message, hint)
        return _Cut()


def _plain(text: str) -> object:
    """A plain scalar by the core schema of YAML 1.2. Numbers beyond 18 digits are floats or text, never huge."""
    if text in _NULLS:
        return _NULLS[text]
    if text[0] not in "+-.0123456789" or len(text) > 40:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    lower = text.lower()
    return float(lower.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(lower) else text


def _mark(event: Event | None) -> Position:
    mark = event and event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax(error: yaml.YAMLError) -> YamlProblem:
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = "not valid YAML"
    if problem := getattr(error, "problem", None):
        message += f": {str(problem)[:80]}"
    if "token" in message or "tab" in message:
        return YamlProblem(
            place, message, "indent with spaces, not tabs, and put values with special characters in quotes"
        )
    if context and context.line + 1 != place[0]:
        return YamlProblem(place, message, f"check indentation, quotes and brackets from line {context.line + 1} on")
    return YamlProblem(place, message, "check indentation, quotes and brackets")
