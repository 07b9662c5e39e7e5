"""`assure-agent get --watch`: the requests, and then one line for each change."""

import sys
from collections.abc import Callable, Sequence

import orjson

from agent.cli.output import Table
from agent.cli.output_formats import DocumentPrinter
from agent.cli.request_table import COLUMNS, WIDE_COLUMNS, rows
from agent.cli.store_watch import watch_requests
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.views.resource import request_json

_AGE = COLUMNS.index("age")


class ChangedRows:
    """Prints requests as rows of one table, and a request again when a cell other than its age changed."""

    def __init__(self, wide: bool) -> None:
        self._columns = WIDE_COLUMNS if wide else COLUMNS
        self._wide = wide
        self._table: Table | None = None  # the first rows set its widths

    def version(self, record: Record) -> object:
        """The cells of a request without its age."""
        (row,) = rows([record], self._wide)
        del row[_AGE]
        return row

    def print(self, records: Sequence[Record]) -> None:
        """Print the requests."""
        cells = rows(records, self._wide)
        if self._table is None:
            self._table = Table(self._columns, cells)
            self._table.print_header()
        self._table.print_rows(cells)


class ChangedDocuments:
    """Prints each request as a document of its own, and again when a field changed."""

    def __init__(self, printer: DocumentPrinter) -> None:
        self._printer = printer

    def version(self, record: Record) -> object:
        """All fields of a request."""
        return orjson.dumps(request_json(record))

    def print(self, records: Sequence[Record]) -> None:
        """Print the requests."""
        for record in records:
            self._printer.print_item(request_json(record))


def print_changes(
    places: Sequence[Settings],
    shown: ChangedRows | ChangedDocuments,
    select: Callable[[Record], bool],
    arrange: Callable[[list[Record]], list[Record]],
) -> None:
    """Print the requests that `select` accepts, as `arrange` orders and limits them, and then their changes.

    A request that leaves the selection is printed once more. Ends only with an exception.
    """
    versions: dict[str, object] = {}
    arranged = False
    for records in watch_requests(places):
        changed = []
        for record in records:
            version = shown.version(record)
            selected = select(record)
            if versions.get(record.uid) != version and (selected or record.uid in versions):
                changed.append(record)
            if selected:
                versions[record.uid] = version
            else:
                versions.pop(record.uid, None)
        if not arranged:
            changed, arranged = arrange(changed), True
        if changed:
            shown.print(changed)
            sys.stdout.flush()
