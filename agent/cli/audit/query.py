"""`assure-agent audit query`: run a named query, or SQL. Read-only, and without access to secrets."""

import contextlib
import difflib
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import StateUrlOption
from agent.cli.output import print_json, print_table
from agent.cli.output_formats import csv_line
from agent.cli.state_file import require_store, store_settings
from agent.core.errors import AgentError
from agent.store import audit_queries, auditor_role_sql, datasette_metadata, store_exists

if TYPE_CHECKING:
    from agent.store.audit.query_library import Query, QueryResult


class Output(StrEnum):
    """An output format for rows."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    name: Annotated[str | None, typer.Argument(help="A named query. Default: list all of them.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(help="Parameters of the query, such as since=2026-11-01.", metavar="[KEY=VALUE]..."),
    ] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="A single SELECT statement to run instead.")] = None,
    datasette: Annotated[bool, typer.Option("--datasette", help="Print the metadata for Datasette.")] = False,
    roles: Annotated[
        bool, typer.Option("--roles", help="Print the SQL that allows --sql on a PostgreSQL database.")
    ] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="Output format: table, json or csv.")] = Output.TABLE,
    state_url: StateUrlOption = None,
) -> None:
    """Query the store with a named query or with SQL.

    SQL may use its views and tables. An agent may be running. Without NAME, the command lists the named queries, their
    parameters, and the views. It also finds your own queries in the folder `queries` next to the state file, or in
    STATE_DIR with a database. A query cannot write, and cannot read capture links or claims. A PostgreSQL database runs
    SQL and your own queries only after a superuser has run the output of --roles in it. In CSV, text that a spreadsheet
    would run as a formula begins with an apostrophe.

    Exit codes: 0 the query was run, 1 unknown query, or a query that cannot be run.

    Example: assure-agent audit query deletions since=2026-11-01 -o csv
    """
    settings = store_settings(state_url)
    if roles:
        typer.echo(auditor_role_sql(settings))
        return
    queries = audit_queries(settings)
    known = queries.library()
    if datasette:
        print_json(datasette_metadata(settings, known.values()))
        return
    if sql is not None and name is not None:
        raise typer.BadParameter("expected a named query or --sql, not both.")
    if sql is None and name is None:
        _list(known, queries.views() if store_exists(settings) else {}, output)
        return
    found = _named(name, known) if name is not None else None
    text, values = (found.sql, _values(found, parameters or [])) if found is not None else (sql or "", {})
    require_store(settings)
    with queries.run(text, values) as answer:
        _print(answer, output)


def _values(found: "Query", given: Sequence[str]) -> dict[str, str]:
    values = dict.fromkeys((key for key, _ in found.parameters), "")
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or key not in values:
            listed = " ".join(f"[{key}=VALUE]" for key in values)
            raise AgentError(
                f"{found.name} has no parameter {key}.", f"`assure-agent audit query {found.name} {listed}`".rstrip()
            )
        values[key] = _checked(found, key, value)
    return values


def _checked(found: "Query", key: str, value: str) -> str:
    """The value as SQL compares it. Raises AgentError: an invalid value would find no rows, as a clean audit does."""
    kind = found.kinds.get(key)
    if kind is None or not value:
        return value
    if kind == "time":
        if not _is_time(value):
            raise _invalid_value(found, key, value, "give a day or a time such as 2026-11-01 or 2026-11-01T08:30:00Z")
        return value.removesuffix("Z")  # as text, 08:30:00.500 sorts before 08:30:00Z
    if kind == "seconds":
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise _invalid_value(found, key, value, "give seconds, such as 900")
        return value
    choices = _choices(kind)
    if not choices:
        raise AgentError(
            f"{found.name}: the parameter {key} has the unknown kind {kind}.",
            "use time, seconds, reason, call, command, or no kind in that file",
        )
    if value not in choices:
        raise _invalid_value(found, key, value, f"give one of {', '.join(sorted(choices))}")
    return value


def _invalid_value(found: "Query", key: str, value: str, hint: str) -> AgentError:
    return AgentError(f"{found.name}: {key}={value} is not valid.", hint)


def _is_time(value: str) -> bool:
    with contextlib.suppress(ValueError):
        form = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?Z?)?"
        return re.fullmatch(form, value) is not None and bool(datetime.fromisoformat(value))
    return False


def _choices(kind: str) -> Collection[str]:
    """The valid values of a parameter kind; empty for an unknown kind."""
    from agent.core.effect import EffectKind
    from agent.core.record import HoldReason
    from agent.daemon.commands import PAGE, VERBS

    known: dict[str, Collection[str]] = {
        "reason": [reason.value for reason in HoldReason],
        "call": [call.value for call in EffectKind if call.mutates],
        "command": {*VERBS, PAGE},
    }
    return known.get(kind, ())


def _named(name: str, known: dict[str, "Query"]) -> "Query":
    """The query of this name. Raises AgentError with the nearest name."""
    if (found := known.get(name)) is not None:
        return found
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"`assure-agent audit query {close[0]}`" if close else "see all of them with `assure-agent audit query`"
    if " " in name:
        hint = "ask in SQL with `--sql`"
    raise AgentError(f"There is no query named {name}.", hint)


def _list(known: dict[str, "Query"], views: dict[str, tuple[str, ...]], output: Output) -> None:
    if output is Output.JSON:
        items = [
            {"name": q.name, "title": q.title, "about": q.about, "parameters": dict(q.parameters), "sql": q.sql}
            for q in known.values()
        ]
        print_json({"items": items, "views": views})
        return
    for one in known.values():
        typer.echo(f"{one.name}\n    {one.title}")
        for key, meaning in one.parameters:
            typer.echo(f"    {key}=  {meaning}")
    typer.echo("\nExample: assure-agent audit query deletions since=2026-11-01 -o csv")
    typer.echo("\nViews, for --sql; times are text in UTC, null means not yet or unknown:")
    for name, columns in views.items():
        typer.echo(f"{name}\n    {', '.join(columns)}")


def _print(answer: "QueryResult", output: Output) -> None:
    if output is Output.JSON:
        print_json({"items": [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]})
    elif output is Output.CSV:
        for row in (answer.columns, *answer.rows):
            sys.stdout.write(csv_line(list(map(_plain, row))))
    else:
        rows = list(_shown(answer))
        print_table(answer.columns, rows)
        typer.echo(f"{len(rows)} rows" if len(rows) != 1 else "1 row")


def _shown(answer: "QueryResult") -> Iterator[list[str]]:
    for row in answer.rows:
        yield ["-" if value is None else str(_plain(value)) for value in row]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
