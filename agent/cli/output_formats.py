"""The output formats of lists: tables for people, and names, JSON, YAML, CSV and JSONPath for programs."""

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer

from agent.cli.output import print_json
from agent.core.errors import WrongUse, did_you_mean


class ListFormat(StrEnum):
    """A format of a list. JSONPATH has a template."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    JSONPATH = "jsonpath"

    @property
    def for_people(self) -> bool:
        """True for a table."""
        return self in (ListFormat.TABLE, ListFormat.WIDE)

    @property
    def has_structure(self) -> bool:
        """True if the format shows a whole document, and not only the items of a list."""
        return self in (ListFormat.JSON, ListFormat.YAML, ListFormat.JSONPATH)


def _complete_format(incomplete: str) -> list[str]:
    formats = [one.value for one in ListFormat if one is not ListFormat.JSONPATH] + ["jsonpath="]
    return [one for one in formats if one.startswith(incomplete)]


ListOutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="Output format: table, wide, name, json, yaml, csv or jsonpath=TEMPLATE.",
        autocompletion=_complete_format,
    ),
]

Render = Callable[[Any], str]  # receives a document of dicts, lists, texts, numbers and None


def parse_format(text: str) -> tuple[ListFormat, str]:
    """The format, and the template of `jsonpath=TEMPLATE`. Raises WrongUse for an unknown format."""
    name, equals, template = text.partition("=")
    if name not in set(ListFormat) or bool(equals) is not (name == ListFormat.JSONPATH):
        known = [one.value for one in ListFormat]
        raise WrongUse(
            f"Unknown output format {text!r}.{did_you_mean(name, known)}",
            f"-o {', '.join(known)}=TEMPLATE".replace(", jsonpath", " or jsonpath"),
        )
    return ListFormat(name), template


class DocumentPrinter:
    """Prints documents on stdout in a format for programs."""

    def __init__(self, chosen: ListFormat, template: str, columns: Sequence[str]) -> None:
        """`columns` are the fields of an item in CSV. Raises WrongUse for an invalid template."""
        self._format = chosen
        self._columns = columns
        self._template = _template(template) if chosen is ListFormat.JSONPATH else str

    def print_document(self, document: Mapping[str, Any]) -> None:
        """Print a document in a format that has structure."""
        if self._format is ListFormat.JSON:
            print_json(document)
        else:
            _write(_yaml(document) if self._format is ListFormat.YAML else self._template(_plain(document)))

    def print_list(self, document: Mapping[str, Any]) -> None:
        """Print a list, whose items are in `items`."""
        if self._format.has_structure:
            self.print_document(document)
        else:
            if self._format is ListFormat.CSV:
                _write(csv_line(self._columns))
            for item in document["items"]:
                self.print_item(item)

    def print_item(self, item: Mapping[str, Any]) -> None:
        """Print one item on its own, as a line of a list that has no end."""
        if self._format is ListFormat.JSON:
            _write(orjson.dumps(item).decode())
        elif self._format is ListFormat.YAML:
            _write(f"---\n{_yaml(item)}")
        elif self._format is ListFormat.JSONPATH:
            _write(self._template(_plain(item)))
        elif self._format is ListFormat.CSV:
            _write(csv_line([_plain(item[column]) for column in self._columns]))
        else:
            _write(item["name"])


def csv_line(cells: Sequence[Any]) -> str:
    """A line of CSV. Text that a spreadsheet would run as a formula begins with an apostrophe."""
    line = io.StringIO()
    csv.writer(line).writerow(map(_harmless, cells))
    return line.getvalue()


def _harmless(value: Any) -> Any:
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def _write(text: str) -> None:
    """Write the text, and end its last line."""
    if text:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _plain(value: Any) -> Any:
    """The value without enumerations, as a program reads it from JSON."""
    return orjson.loads(orjson.dumps(value))


def _yaml(value: Any) -> str:
    import yaml  # imported late: only this format needs it

    return str(yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True))


def _template(text: str) -> Render:
    from agent.cli.jsonpath_template import Template  # imported late: only this format needs it

    return Template(text).render
