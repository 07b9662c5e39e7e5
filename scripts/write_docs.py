"""Write the generated parts of the documents, between `<!-- begin NAME -->` and `<!-- end NAME -->`.

Also writes the schema, the OpenAPI file, the pictures of the state diagram, the dashboards and rules, and the man
pages.
`make docs` runs it; a test checks that the files are current.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path

from agent.core.machine import TABLE, TERMINATIONS
from agent.core.record import HoldReason, Outcome, Phase
from agent.core.request_schema import schema_text
from agent.platform.metrics import Metrics
from agent.platform.settings import PREFIX, Settings
from agent.store.audit.query_library import library
from agent.store.sqlite.audit_queries import SqliteQueries
from agent.store.sqlite.connection import open_writer
from agent.store.sqlite.datasette import metadata
from agent.store.sqlite.migrations import migrate
from agent.web.openapi import openapi

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
CLI = ROOT / "docs/reference/cli"
MAN = ROOT / "share/man/man1"
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import command_line  # noqa: E402
import life_diagram  # noqa: E402
import manual  # noqa: E402
import reference  # noqa: E402

import grafana.__main__  # noqa: E402
from bench.report import RESULTS, SECTIONS, markdown  # noqa: E402


def changes_of_phase() -> dict[tuple[Phase, Phase], list[str]]:
    """The observations that may cause each change of phase in the transition table."""
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, rows in TABLE.items():
        for observation, row in rows.items():
            for to in row.to:
                edges.setdefault((phase, to), []).append(f"`{observation.__name__}`")
    for phase, targets in TERMINATIONS.items():
        for to in targets:
            cause = "next generation" if phase is Phase.DONE else "withdrawn, superseded or expired"
            edges.setdefault((phase, to), []).append(cause)
    order = list(Phase)
    return dict(sorted(edges.items(), key=lambda edge: (order.index(edge[0][0]), order.index(edge[0][1]))))


def transitions() -> str:
    """The table of changes of phase."""
    lines = ["| from | to | after |", "|---|---|---|"]
    for (source, to), causes in changes_of_phase().items():
        shown = f"`{to}`, from its start" if source is to else f"`{to}`"
        lines.append(f"| `{source}` | {shown} | {', '.join(dict.fromkeys(causes))} |")
    return "\n".join(lines)


def life(colours: dict[str, str]) -> str:
    """The diagram of the same table, as SVG."""
    source = (ROOT / "agent/core/record.py").read_text()
    sentences = {phase.value: re.sub(r"[;:,.].*", "", _sentence(source, phase.value)) for phase in Phase}
    edges = [(source.value, to.value) for source, to in changes_of_phase() if source is not to]
    return life_diagram.draw(sentences, edges, colours)


def settings() -> str:
    """The table of settings."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _default(name, field.default)
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


_UNITS = {
    "poll_interval": "5s", "scan_interval": "10s", "request_timeout": "30s", "hold_ttl": "7d",
    "max_image_bytes": "10MiB", "backup_interval": "1d",
}  # fmt: skip


def _default(name: str, value: object) -> str:
    if name in _UNITS:
        return f"`{_UNITS[name]}`"
    return "" if value in (None, [], "") or name.endswith(("_secret", "_token", "_key")) else f"`{value}`"


def metrics() -> str:
    """The table of metrics."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name, kind, labels, text in sorted(metric_list()):
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {text} |")
    return "\n".join(lines)


class _Nothing:
    """A store that returns no data. The metrics need one to be listed."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def freeze(self) -> None:
        pass

    def counts(self) -> dict[tuple[str, str], int]:
        return {("done", "done"): 0}

    def counters(self, counter: str) -> list[tuple[str, str, str, int]]:
        return [("upload", "document", "accepted", 0)]

    def held(self) -> list[tuple[str, int]]:
        return []

    def gauges(self, now: float) -> dict[str, float]:
        from agent.platform.metric_tables import STORE_GAUGES

        return dict.fromkeys(STORE_GAUGES, 0.0)


class _NoTime:
    def now(self) -> float:
        return 0.0


def metric_list() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and meaning of every metric."""
    made = Metrics(_NoTime())  # type: ignore[arg-type]
    made.register_store(_Nothing)
    found: dict[str, tuple[str, str, tuple[str, ...], str]] = {}
    for collector in set(made.registry._collector_to_names):
        labels = getattr(collector, "_labelnames", None)
        for family in collector.collect():
            keys = labels if labels is not None else family.samples[0].labels if family.samples else ()
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = (name, family.type, tuple(key for key in keys if key != "le"), family.documentation)
    return list(found.values())


def outcomes() -> str:
    """The outcomes, with the comment of each in the code."""
    return _meanings("outcome", Outcome)


def holds() -> str:
    """The reasons of holds, with the comment of each in the code."""
    return _meanings("reason", HoldReason)


def _meanings(title: str, values: Iterable[StrEnum]) -> str:
    source = (ROOT / "agent/core/record.py").read_text()
    lines = [f"| {title} | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{value}` | {_sentence(source, value.value)} |" for value in values)])


def _sentence(source: str, value: str) -> str:
    match = re.search(rf'= "{re.escape(value)}"  # (.+)', source)
    assert match is not None, value
    return match[1]


def views() -> str:
    """The views of the store: the meaning of a row, from the comment in the schema, and the columns."""
    said = {}
    for path in sorted((ROOT / "agent/store/sqlite/schema").glob("*.sql")):
        said |= dict(re.findall(r"^-- ([a-z_]+): (.+)$", path.read_text(), re.MULTILINE))
    lines = ["| view | what a row is | columns |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        connection = open_writer(path)
        migrate(connection)
        connection.close()
        for name, columns in SqliteQueries(path).views().items():
            lines.append(f"| `{name}` | {said[name]} | {', '.join(f'`{column}`' for column in columns)} |")
    return "\n".join(lines)


def queries() -> str:
    """The named queries: the title of each, and its parameters."""
    lines = ["| query | answer | parameters |", "|---|---|---|"]
    for query in library(ROOT / "state/queries").values():
        parameters = ", ".join(f"`{key}` ({meaning})" for key, meaning in query.parameters)
        lines.append(f"| [`{query.name}`](../state/queries/{query.name}.sql) | {query.title} | {parameters} |")
    return "\n".join(lines)


def datasette() -> str:
    """state/datasette.json."""
    return json.dumps(metadata(library(ROOT / "state/queries").values()), indent=2) + "\n"


def _measured(section: str) -> str:
    """The last results of a section of the benchmark."""
    return markdown(json.loads(RESULTS.read_text())[section])


def dependencies() -> str:
    """The table of runtime dependencies: size and purpose of each, from the comments in pyproject.toml."""
    lines = ["| package | MB | purpose |", "|---|---:|---|"]
    listed = (ROOT / "pyproject.toml").read_text().split("\ndependencies = [\n")[1].split("\n]\n")[0]
    for name, size, purpose in re.findall(r'^ *"([\w-]+)[^"]*", +# ([\d.]+) MB: (.+)$', listed, re.MULTILINE):
        lines.append(f"| {name} | {size} | {purpose} |")
    return "\n".join(lines)


def pages() -> dict[str, tuple[str, ...]]:
    """Every document with generated parts, and the names of these parts."""
    names = command_line.commands()
    commands = {f"docs/reference/cli/{reference.page_of(name)}": (f"command-{name}",) for name in names}
    return {
        "docs/architecture.md": ("transitions",),
        "docs/audit.md": ("views", "queries"),
        "docs/concepts.md": ("outcomes", "holds"),
        "docs/operations/install.md": ("dependencies",),
        "docs/performance.md": tuple(MEASURED_PARTS),
        "docs/reference/api.md": ("api",),
        "docs/reference/cli/index.md": ("commands",),
        "docs/reference/metrics.md": ("metrics",),
        "docs/reference/request-file.md": ("request-fields",),
        "docs/reference/settings.md": ("settings",),
        **commands,
    }


MEASURED_PARTS = {f"measured-{section}": partial(_measured, section) for section in SECTIONS}
COMMAND_PARTS = {f"command-{name}": partial(reference.command_page, name) for name in command_line.commands()}
PARTS = {
    "transitions": transitions,
    "views": views,
    "queries": queries,
    "outcomes": outcomes,
    "holds": holds,
    "api": lambda: reference.api(openapi()),
    "dependencies": dependencies,
    "commands": reference.command_table,
    "metrics": metrics,
    "request-fields": lambda: reference.request_fields(json.loads(schema_text())),
    "settings": settings,
    **MEASURED_PARTS,
    **COMMAND_PARTS,
}


def rewritten(text: str, names: tuple[str, ...]) -> str:
    """The text with the named parts generated again."""
    for name in names:
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"No markers `begin {name}` and `end {name}`. Try: add them to the document.")
        text = pattern.sub(lambda match, name=name: match[1] + PARTS[name]() + "\n" + match[2], text)
    return text


def _page(path: Path, names: tuple[str, ...]) -> str:
    """A page as it is on disk. The page of a new command begins with its title and the markers."""
    if path.exists() or path.parent != CLI:
        return path.read_text()
    (part,) = names
    title = part.removeprefix("command-")
    return f"# assure-agent {title}\n\n<!-- begin {part} -->\n<!-- end {part} -->\n"


def api_text() -> str:
    """The OpenAPI description of the API, as the agent serves it."""
    return json.dumps(openapi(), indent=2) + "\n"


def main() -> None:
    """Write the files. With --check write nothing, and exit with 1 when a file is out of date."""
    written = {ROOT / name: rewritten(_page(ROOT / name, parts), parts) for name, parts in pages().items()}
    written |= {IMAGES / "life-light.svg": life(life_diagram.LIGHT), IMAGES / "life-dark.svg": life(life_diagram.DARK)}
    written |= {ROOT / "specs/schema.json": schema_text(), ROOT / "state/datasette.json": datasette()}
    written |= {ROOT / "docs/openapi.json": api_text()}
    written |= grafana.__main__.files()
    written |= {MAN / name: text for name, text in manual.man_pages().items()}
    if "--check" in sys.argv:
        sys.exit(any(not path.exists() or path.read_text() != text for path, text in written.items()))
    MAN.mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
