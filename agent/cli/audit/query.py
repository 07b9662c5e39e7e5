"""`assure-agent audit query`: named questions, and free ones in SQL. Read-only; no secret can be read."""

import contextlib
import csv
import difflib
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.output import print_json, print_table
from agent.cli.state_file import existing, store_settings
from agent.core.errors import AgentError

if TYPE_CHECKING:
    from agent.store.audit.named_queries import Answer, Query


class Output(StrEnum):
    """How to print rows."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    name: Annotated[str | None, typer.Argument(help="A named query; all of them are listed when left out.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Argument(help="Its parameters, such as since=2026-11-01.", metavar="[KEY=VALUE]...")
    ] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="A question of your own: one SELECT.")] = None,
    datasette: Annotated[
        bool, typer.Option("--datasette", help="Print the metadata with which Datasette shows the store.")
    ] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json or csv.")] = Output.TABLE,
    state: Annotated[str | None, typer.Option("--state", help="The store, as STATE_URL.")] = None,
) -> None:
    """Ask the store: a named query, or SQL of your own over the views and tables. Works while the agent runs.

    Without NAME, the named queries are listed, with their parameters and the views. Queries of your own are found in
    the folder `queries` beside the state file. Nothing can be written; capture links and claims cannot be read. In CSV,
    a text that a spreadsheet would take for a formula begins with an apostrophe.
    Exit codes: 0 fine (also without rows), 1 no such query, or it cannot be run.

    Example: assure-agent audit query deletions since=2026-11-01 -o csv
    """
    from agent.store.audit import named_queries

    path = store_settings(state).state_path
    known = named_queries.library(named_queries.SHIPPED, path.with_name("queries"))
    if datasette:
        from agent.store.audit.datasette import metadata

        print_json(metadata(known.values(), path.stem))
        return
    if sql is None and name is None:
        _list(known, path, output)
        return
    if sql is not None and name is not None:
        raise typer.BadParameter("expected a named query or --sql, not both.")
    values: dict[str, str] = {}
    if name is not None:
        found = known.get(name)
        if found is None:
            raise _unknown(name, known)
        sql, values = found.sql, _values(found, parameters or [])
    with named_queries.asked(existing(path), sql or "", values) as answer:
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
    """The value as SQL compares it. What makes no sense would find nothing, and look like a clean audit."""
    kind = found.kinds.get(key)
    if kind is None or not value:
        return value
    if kind == "time":
        if not _is_time(value):
            raise _senseless(found, key, value, "give a day or a time such as 2026-11-01 or 2026-11-01T08:30:00Z")
        return value.removesuffix("Z")  # a time with milliseconds sorts before the same one with a Z in their place
    if kind == "seconds":
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise _senseless(found, key, value, "give seconds, such as 900")
        return value
    words = _words(kind)
    if not words:
        raise AgentError(
            f"{found.name}: the parameter {key} has the kind {kind}, which there is not.",
            "correct the file: time, seconds, reason, call, command, or no kind",
        )
    if value not in words:
        raise _senseless(found, key, value, f"give one of {', '.join(sorted(words))}")
    return value


def _senseless(found: "Query", key: str, value: str, hint: str) -> AgentError:
    return AgentError(f"{found.name}: {key}={value} means nothing there.", hint)


def _is_time(value: str) -> bool:
    with contextlib.suppress(ValueError):
        form = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?Z?)?"
        return re.fullmatch(form, value) is not None and bool(datetime.fromisoformat(value))
    return False


def _words(kind: str) -> Collection[str]:
    """What may be given for a kind of closed words."""
    from agent.core.effect import EffectKind
    from agent.core.record import HoldReason
    from agent.daemon.commands import PAGE, VERBS

    known: dict[str, Collection[str]] = {
        "reason": [reason.value for reason in HoldReason],
        "call": [call.value for call in EffectKind if call.changes],
        "command": {*VERBS, PAGE},
    }
    return known.get(kind, ())


def _unknown(name: str, known: dict[str, "Query"]) -> AgentError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"`assure-agent audit query {close[0]}`" if close else "see all of them with `assure-agent audit query`"
    if " " in name:
        hint = "ask in SQL with `--sql`"
    return AgentError(f"There is no query named {name}.", hint)


def _list(known: dict[str, "Query"], path: Path, output: Output) -> None:
    from agent.store.audit.named_queries import viewed

    views = viewed(path) if path.exists() else {}
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
    typer.echo("\nViews, for --sql; times are text in UTC, null is not yet or not known:")
    for name, columns in views.items():
        typer.echo(f"{name}\n    {', '.join(columns)}")


def _print(answer: "Answer", output: Output) -> None:
    if output is Output.JSON:
        print_json({"items": [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]})
    elif output is Output.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows(list(map(_cell, row)) for row in answer.rows)
    else:
        rows = list(_shown(answer))
        print_table(answer.columns, rows)
        typer.echo(f"{len(rows)} rows" if len(rows) != 1 else "1 row")


def _shown(answer: "Answer") -> Iterator[list[str]]:
    for row in answer.rows:
        yield ["-" if value is None else str(_plain(value)) for value in row]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _cell(value: Any) -> Any:
    """For a spreadsheet: a text of ours is none of its formulas."""
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else _plain(value)
    )
