"""Grafana panels and dashboards, rendered by the builders of grafana-foundation-sdk."""

import json
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

RUNBOOK = "${runbook}"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_RESTARTS = (
    dashboard.AnnotationQuery()
    .name("Restarts")
    .datasource(_SOURCE)
    .enable(True)
    .icon_color("purple")
    .expr('1000 * process_start_time_seconds{job="assure-agent",instance=~"$agent"}')
)

# The value is the time of the mark, in milliseconds. The SDK lacks these options.
_AT_THE_START = {"useValueForTime": True, "titleFormat": "Restart", "textFormat": "{{instance}}"}


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
    words: tuple[tuple[str, str, str], ...] = ()  # a value, the word that replaces it, and its colour
    text: str = "auto"  # of a stat: auto, or name for the name of the series
    empty: str = "no data: is the agent up?"


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
    variables: tuple[dashboard.QueryVariable, ...] = field(default=())

    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def model(self, runbook: str) -> dict[str, Any]:
        """The JSON that Grafana imports. `runbook` is the address of docs/operations/runbook.md."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["assure-agent"])
            .version(1)
            .editable()
            .refresh("30s")
            .time("now-6h", "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(_link("Runbook", RUNBOOK))
            .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        )
        for one in self.variables:
            board.with_variable(one)
        board.with_variable(dashboard.ConstantVariable("runbook").value(runbook))
        board.annotation(_RESTARTS)
        number = 0
        for row in self.rows:
            number += 1
            board.with_row(dashboard.Row(row.title).id(number))
            for panel in row.panels:
                number += 1
                board.with_panel(_panel(panel).id(number))
        model: dict[str, Any] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
        model["annotations"]["list"][0] |= _AT_THE_START
        return model


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A variable with the values of a label. By default it selects all."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .multi(True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(True)


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _stat(panel) if panel.kind == "stat" else _timeseries(panel)
    steps = [Threshold(value=value, color=colour) for value, colour in panel.steps]
    made.title(panel.title).description(panel.description).datasource(_SOURCE).unit(panel.unit).no_value(panel.empty)
    made.span(panel.width).height(panel.height).links([_link("Runbook", f"{RUNBOOK}#{panel.section}")])
    made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.words:
        results = {value: ValueMappingResult(text=word, color=colour) for value, word, colour in panel.words}
        made.mappings([ValueMap(options=results)])
    if panel.least is not None:
        made.min(panel.least)
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + number)).datasource(_SOURCE)
        made.with_target(target.expr(query.expression).legend_format(query.legend))
    return made


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .color_mode(values.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(values.BigValueGraphMode.AREA)
        .text_mode(values.BigValueTextMode(panel.text))
    )


def _timeseries(panel: Panel) -> timeseries.Panel:
    stacked = values.StackingMode.PERCENT if panel.share else values.StackingMode.NORMAL
    stacking = stacked if panel.stacked else values.StackingMode.NONE
    lines = values.GraphThresholdsStyleMode.DASHED if len(panel.steps) > 1 else values.GraphThresholdsStyleMode.OFF
    legend = common.VizLegendOptions().show_legend(True).display_mode(values.LegendDisplayMode.TABLE)
    tooltip = common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI)
    return (
        timeseries.Panel()
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .fill_opacity(30 if panel.stacked else 8)
        .line_width(2)
        .show_points(values.VisibilityMode.NEVER)
        .span_nulls(True)
        .stacking(common.StackingConfig().mode(stacking).group("A"))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(lines))
        .legend(legend.placement(values.LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"]))
        .tooltip(tooltip.sort(values.SortOrder.DESCENDING))
    )
