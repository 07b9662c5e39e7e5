"""Write the generated parts of the documents, between `<!-- begin NAME -->` and `<!-- end NAME -->`, and the schema.

`make docs` writes them; a test checks that they are current.
"""

import json
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

from prometheus_client.registry import Collector

from agent.core.machine import TABLE, TERMINATIONS
from agent.core.record import HoldReason, Outcome, Phase
from agent.core.request_schema import schema_text
from agent.platform.metrics import Metrics
from agent.platform.settings import PREFIX, Settings
from agent.store.audit.datasette import metadata
from agent.store.audit.named_queries import library, view_columns
from agent.store.connection import open_writer
from agent.store.migrations import migrate
from agent.web.openapi import openapi

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "state/README.md", "docs/performance.md")
sys.path.insert(0, str(ROOT))

import grafana.__main__  # noqa: E402
from bench.report import RESULTS, SECTIONS, markdown  # noqa: E402


def diagram() -> str:
    """The state diagram, from the transition table."""
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, rows in TABLE.items():
        for observation, row in rows.items():
            for to in row.to:
                edges.setdefault((phase, to), []).append(re.sub(r"(?<!^)([A-Z])", r" \1", observation.__name__).lower())
    for phase, targets in TERMINATIONS.items():
        for to in targets:
            edges.setdefault((phase, to), []).append(
                "new generation" if phase is Phase.DONE else "withdrawn, changed, expired"
            )
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> dossier: admitted"]
    order = list(Phase)
    for (source, to), labels in sorted(
        edges.items(), key=lambda edge: (order.index(edge[0][0]), order.index(edge[0][1]))
    ):
        lines.append(f"    {source} --> {to}: {' / '.join(dict.fromkeys(labels))}")
    return "\n".join([*lines, "    done --> [*]", "```"])


def settings() -> str:
    """The table of settings, from their definitions."""
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
    """The table of metrics, from what an agent exposes."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name, kind, labels, text in sorted(metric_list()):
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {text} |")
    return "\n".join(lines)


class _Nothing:
    """A store that knows nothing: enough to see which metrics there are."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def counts(self) -> dict[tuple[str, str], int]:
        return {("done", "done"): 0}

    def counters(self, counter: str) -> list[tuple[str, str, str, int]]:
        return [("upload", "document", "accepted", 0)]

    def held(self) -> list[tuple[str, int]]:
        return []

    def gauges(self, now: float) -> dict[str, float]:
        from agent.platform.metrics import GAUGES

        return dict.fromkeys(GAUGES, 0.0)


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
        for family in _families(collector):
            keys = labels if labels is not None else tuple(family.samples[0].labels) if family.samples else ()
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = (name, family.type, tuple(keys), family.documentation)
    return list(found.values())


def _families(collector: Collector) -> list[object]:
    return list(collector.collect())


def outcomes() -> str:
    """The outcomes and the reasons of holds, with the sentences that stand beside them in the code."""
    source = (ROOT / "agent/core/record.py").read_text()
    lines = ["| outcome | meaning |", "|---|---|"]
    lines += [f"| `{outcome}` | {_sentence(source, outcome.value)} |" for outcome in Outcome]
    lines += ["", "| held because | meaning |", "|---|---|"]
    lines += [f"| `{reason}` | {_sentence(source, reason.value)} |" for reason in HoldReason]
    return "\n".join(lines)


def _sentence(source: str, value: str) -> str:
    match = re.search(rf'= "{re.escape(value)}"  # (.+)', source)
    assert match is not None, value
    return match[1]


def views() -> str:
    """The views of the store: what a row is, from the comment in the schema, and the columns."""
    said = {}
    for path in sorted((ROOT / "agent/store/schema").glob("*.sql")):
        said |= dict(re.findall(r"^-- ([a-z_]+): (.+)$", path.read_text(), re.MULTILINE))
    lines = ["| view | what a row is | columns |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        connection = open_writer(path)
        migrate(connection)
        connection.close()
        for name, columns in view_columns(path).items():
            lines.append(f"| `{name}` | {said[name]} | {', '.join(f'`{column}`' for column in columns)} |")
    return "\n".join(lines)


def queries() -> str:
    """The named queries: what each answers, and its parameters."""
    lines = ["| query | what it answers | parameters |", "|---|---|---|"]
    for query in library(ROOT / "state/queries").values():
        parameters = "; ".join(f"`{key}`: {meaning}" for key, meaning in query.parameters)
        lines.append(f"| [`{query.name}`](queries/{query.name}.sql) | {query.title} | {parameters} |")
    return "\n".join(lines)


def datasette() -> str:
    """state/datasette.json."""
    return json.dumps(metadata(library(ROOT / "state/queries").values()), indent=2) + "\n"


def _measured(section: str) -> str:
    """What a section of the benchmark found when it was run last."""
    return markdown(json.loads(RESULTS.read_text())[section])


MEASURED_PARTS = {f"measured-{section}": partial(_measured, section) for section in SECTIONS}
STATE_PARTS = {"views": views, "queries": queries}
PARTS = {"diagram": diagram, "settings": settings, "metrics": metrics, "outcomes": outcomes}


def rewritten(text: str) -> str:
    """The text with all generated parts made anew."""
    for name, make in (PARTS | STATE_PARTS | MEASURED_PARTS).items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, make=make: match[1] + make() + "\n" + match[2], text)
    return text


def api_text() -> str:
    """The OpenAPI description of the API, as it is served."""
    return json.dumps(openapi(), indent=2) + "\n"


def main() -> None:
    """Rewrite the documents and what else is made of the code; with --check say whether they are current."""
    written = {path: rewritten(path.read_text()) for path in map(ROOT.joinpath, DOCUMENTS)}
    written |= {ROOT / "specs/schema.json": schema_text(), ROOT / "state/datasette.json": datasette()}
    written |= {ROOT / "docs/openapi.json": api_text()}
    written |= grafana.__main__.files()
    if "--check" in sys.argv:
        sys.exit(any(not path.exists() or path.read_text() != text for path, text in written.items()))
    for path, text in written.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
