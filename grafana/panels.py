"""Grafana panels and dashboards as plain values (dashboard JSON model, schema version 39)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

RUNBOOK = "${runbook}"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # columns of Grafana's grid


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and the name of its series."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `section` is its heading in the runbook. `steps`: (from value, colour), the first without a value."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    section: str
    kind: str = "timeseries"  # timeseries | stat
    width: int = 12
    height: int = 8
    stacked: bool = False
    share: bool = False  # each series as its share of the total
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    least: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A dashboard of rows, with the variables that its queries use."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[dict[str, Any], ...] = field(default=())

    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def model(self, runbook: str) -> dict[str, Any]:
        """The JSON that Grafana imports. `runbook` is the address of docs/operations/runbook.md."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["assure-agent"],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "graphTooltip": 1,
            "links": [_link("Runbook", RUNBOOK)],
            "templating": {"list": [_datasource(), *self.variables, _constant("runbook", runbook)]},
            "panels": _placed(self.rows),
        }


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    """A variable with the values of a label. By default it selects all."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _constant(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "type": "constant", "hide": 2, "query": value, "current": {"text": value, "value": value}}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "type": "link", "url": url, "targetBlank": True}


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        placed.append(_heading(row.title, len(placed) + 1, top))
        top += 1
        left = 0
        height = 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top = 0, top + height
            placed.append(_panel(panel, len(placed) + 1, left, top))
            left, height = left + panel.width, panel.height
        top += height
    return placed


def _heading(title: str, number: int, top: int) -> dict[str, Any]:
    grid = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "links": [_link("Runbook", f"{RUNBOOK}#{panel.section}")],
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend}
            for n, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.steps],
        },
    }
    if panel.least is not None:
        defaults["min"] = panel.least
    if panel.kind == "timeseries":
        mode = ("percent" if panel.share else "normal") if panel.stacked else "none"
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 8,
            "lineWidth": 2,
            "showPoints": "never",
            "spanNulls": True,
            "stacking": {"mode": mode, "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if len(panel.steps) > 1 else "off"},
        }
    else:
        defaults["color"] = {"mode": "thresholds"}
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduce, "colorMode": "background_solid", "graphMode": "area", "textMode": "auto"}
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
