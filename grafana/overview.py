"""The overview: the flow of work, its speed, and its waits."""

from grafana.overview_glance import GLANCE
from grafana.overview_replicas import REPLICAS
from grafana.overview_source import GIT_SOURCE
from grafana.overview_systems import API, EVENTS, STORE
from grafana.panels import Dashboard, Panel, Query, Row, variable
from grafana.queries import AGENT, NOTHING, ONE, WINDOW, quantile, quantiles

MODE = variable("mode", "Mode", "label_values(assure_agent_outcomes_total, mode)")
PROCESS_TYPE = variable("process_type", "Process type", "label_values(assure_agent_outcomes_total, process_type)")


def _phases(share: float) -> Panel:
    return Panel(
        title=f"Time in a phase, p{share * 100:.0f}",
        description="The time that requests spend in each phase. `result` is the time at Assure. "
        "For captures it includes the time that the end user takes.",
        unit="s",
        queries=(Query(quantile(share, "assure_agent_phase_duration_seconds", "phase", ONE), "{{phase}}"),),
        empty=NOTHING,
        section="slow",
        width=8,
    )


_WHERE = f'{ONE},mode=~"$mode",process_type=~"$process_type"'
_OUTCOMES = f"sum by (outcome) (max without (instance, pod) (rate(assure_agent_outcomes_total{{{_WHERE}}}"
_THROUGHPUT = Row(
    title="Throughput and outcomes",
    panels=(
        Panel(
            title="Outcomes per minute",
            description="Requests that came to an outcome, by outcome.",
            unit="short",
            queries=(Query(f"60 * {_OUTCOMES}{WINDOW})))", "{{outcome}}"),),
            empty=NOTHING,
            section="outcomes",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Outcome mix",
            description="The share of each outcome over the last hour. After a sudden change, check the images, "
            "the capture page and Assure.",
            unit="percentunit",
            queries=(Query(f"{_OUTCOMES}[1h])))", "{{outcome}}"),),
            empty=NOTHING,
            section="outcomes",
            width=8,
            stacked=True,
            share=True,
        ),
        Panel(
            title="Starts and start budget",
            description="Billable starts of the last day by mode, and the starts that the budget still allows today.",
            unit="short",
            queries=(
                Query(
                    f"sum by (mode) (max without (instance, pod) (increase(assure_agent_starts_total{{{ONE}}}[1d])))",
                    "{{mode}}, last 24 h",
                ),
                Query(f"min(assure_agent_start_budget_remaining{{{ONE}}}) < Inf", "left today"),
            ),
            section="budget",
            width=8,
        ),
    ),
)

_DURATION = f'{ONE},mode=~"$mode"'
_LATENCY = Row(
    title="Latency",
    panels=(
        Panel(
            title="End to end, p50 p90 p99",
            description="Time from the admission of a request to its deleted dossier, retention included.",
            unit="s",
            queries=quantiles("assure_agent_request_duration_seconds", _DURATION),
            empty=NOTHING,
            section="slow",
        ),
        Panel(
            title="Settled within the target",
            description="The share of uploads that were done within 10 minutes, for the last hour. "
            "The objective is 99 %.",
            unit="percentunit",
            queries=(Query("1 - max(assure_agent:settle_errors:ratio_rate1h)", "in time"),),
            empty=NOTHING,
            section="slo-settled",
            steps=((None, "red"), (0.99, "green")),
        ),
        _phases(0.5),
        _phases(0.9),
        _phases(0.99),
    ),
)

_BACKLOG = Row(
    title="Backlog",
    panels=(
        Panel(
            title="Open requests by phase",
            description="The number of open requests in each phase.",
            unit="short",
            queries=(Query(f'sum by (phase) (assure_agent_requests{{{ONE},phase!="done"}})', "{{phase}}"),),
            section="stuck",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Open requests by state",
            description="Active: the agent works on it. Waiting: for Assure, the end user or a time. "
            "Held: for a decision of the operator.",
            unit="short",
            queries=(Query(f'sum by (state) (assure_agent_requests{{{ONE},state!="done"}})', "{{state}}"),),
            section="stuck",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Held by reason",
            description="Requests that wait for an operator, by the reason of their hold.",
            unit="short",
            queries=(
                Query(f"sum by (reason) (max without (instance, pod) (assure_agent_held{{{ONE}}}))", "{{reason}}"),
            ),
            section="held",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Oldest without progress",
            description="Time since the last progress of the most stalled active request. "
            "A failed attempt does not count as progress.",
            unit="s",
            queries=(Query(f"max(assure_agent_oldest_unprogressed_seconds{{{ONE}}})", "all"),),
            section="stuck",
            steps=((None, "green"), (1800.0, "red")),
        ),
        Panel(
            title="Files of the source",
            description="Files read, documents refused, and withdrawals that wait for `assure-agent approve`.",
            unit="short",
            queries=(
                Query(
                    f"sum by (state) (max without (instance, pod) (assure_agent_source_files{{{ONE}}}))", "{{state}}"
                ),
            ),
            section="source-stale",
        ),
    ),
)

OVERVIEW = Dashboard(
    uid="assure-agent-overview",
    title="Assure Agent / Overview",
    description="Throughput, outcomes, latency, backlog, and how Assure answers.",
    variables=(AGENT, MODE, PROCESS_TYPE),
    rows=(GLANCE, _THROUGHPUT, _LATENCY, _BACKLOG, GIT_SOURCE, API, EVENTS, STORE, REPLICAS),
)
