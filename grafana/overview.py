"""The overview: the flow of work, its speed, and its waits."""

from grafana.panels import Dashboard, Panel, Query, Row, variable

AGENT = variable("agent", "Agent", "label_values(assure_agent_build_info, instance)")
MODE = variable("mode", "Mode", "label_values(assure_agent_outcomes_total, mode)")
PROCESS_TYPE = variable("process_type", "Process type", "label_values(assure_agent_outcomes_total, process_type)")

ONE = 'instance=~"$agent"'
WINDOW = "[$__rate_interval]"
GOOD_IS_ZERO = ((None, "green"), (1.0, "red"))


def quantile(share: float, metric: str, by: str, where: str) -> str:
    """PromQL of a quantile of a histogram. `by` names the labels to keep, if any."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({metric}_bucket{{{where}}}{WINDOW})))"


def quantiles(metric: str, where: str) -> tuple[Query, ...]:
    """p50, p90 and p99 of a histogram."""
    return tuple(Query(quantile(share, metric, "", where), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99))


def _phases(share: float) -> Panel:
    return Panel(
        title=f"Time in a phase, p{share * 100:.0f}",
        description="The time that requests spend in each phase. `result` is the time at Assure. "
        "For captures it includes the time that the end user takes.",
        unit="s",
        queries=(Query(quantile(share, "assure_agent_phase_duration_seconds", "phase", ONE), "{{phase}}"),),
        section="slow",
        width=8,
    )


def _stat(title: str, description: str, unit: str, query: str, section: str, **options: object) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(query, title),),
        section=section,
        kind="stat",
        width=4,
        height=4,
        **options,  # type: ignore[arg-type]
    )


_GLANCE = Row(
    title="At a glance",
    panels=(
        _stat(
            "Held",
            "Requests that wait for an operator. `assure-agent get` lists them, `explain NAME` prints the command.",
            "short",
            f"sum(assure_agent_held{{{ONE}}})",
            "held",
            steps=GOOD_IS_ZERO,
        ),
        _stat(
            "Oldest without progress",
            "Time since the last progress of the most stalled active request.",
            "s",
            f"max(assure_agent_oldest_unprogressed_seconds{{{ONE}}})",
            "stuck",
            steps=((None, "green"), (600.0, "orange"), (1800.0, "red")),
        ),
        _stat(
            "Circuit breaker",
            "1 while the circuit breaker is open: too many calls failed, and the agent sends only probes.",
            "short",
            f"max(assure_agent_circuit_open{{{ONE}}})",
            "circuit-open",
            steps=GOOD_IS_ZERO,
        ),
        _stat(
            "Starts left today",
            "Starts that MAX_STARTS_PER_DAY still allows today. Infinite without a limit.",
            "short",
            f"min(assure_agent_start_budget_remaining{{{ONE}}})",
            "budget",
            steps=((None, "red"), (1.0, "green")),
        ),
        _stat(
            "Source age",
            "Time since the last complete scan of the folder of request files.",
            "s",
            f"time() - min(assure_agent_source_last_sync_timestamp_seconds{{{ONE}}})",
            "source-stale",
            steps=((None, "green"), (120.0, "orange"), (300.0, "red")),
        ),
        _stat(
            "Refused files",
            "Documents in the folder that the agent refuses. `assure-agent validate` prints the line and the cause.",
            "short",
            f'sum(assure_agent_source_files{{{ONE},state="refused"}})',
            "source-stale",
            steps=((None, "green"), (1.0, "orange")),
        ),
    ),
)

_OUTCOMES = f'sum by (outcome) (rate(assure_agent_outcomes_total{{{ONE},mode=~"$mode",process_type=~"$process_type"}}'
_THROUGHPUT = Row(
    title="Throughput and outcomes",
    panels=(
        Panel(
            title="Outcomes per minute",
            description="Requests that came to an outcome, by outcome.",
            unit="short",
            queries=(Query(f"60 * {_OUTCOMES}{WINDOW}))", "{{outcome}}"),),
            section="outcomes",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Outcome mix",
            description="The share of each outcome over the last hour. After a sudden change, check the images, "
            "the capture page and Assure.",
            unit="percentunit",
            queries=(Query(f"{_OUTCOMES}[1h]))", "{{outcome}}"),),
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
                Query(f"sum by (mode) (increase(assure_agent_starts_total{{{ONE}}}[1d]))", "{{mode}}, last 24 h"),
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
            section="slow",
        ),
        Panel(
            title="Settled within the target",
            description="The share of uploads that were done within 10 minutes, for the last hour. "
            "The objective is 99 %.",
            unit="percentunit",
            queries=(Query(f"1 - max(assure_agent:settle_errors:ratio_rate1h{{{ONE}}})", "in time"),),
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
            queries=(Query(f"sum by (reason) (assure_agent_held{{{ONE}}})", "{{reason}}"),),
            section="held",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Oldest without progress",
            description="Time since the last progress of the most stalled active request. "
            "A failed attempt does not count as progress.",
            unit="s",
            queries=(Query(f"max by (instance) (assure_agent_oldest_unprogressed_seconds{{{ONE}}})", "{{instance}}"),),
            section="stuck",
            steps=((None, "green"), (1800.0, "red")),
        ),
        Panel(
            title="Files of the source",
            description="Files read, documents refused, and withdrawals that wait for `assure-agent approve`.",
            unit="short",
            queries=(Query(f"sum by (state) (assure_agent_source_files{{{ONE}}})", "{{state}}"),),
            section="source-stale",
        ),
    ),
)

_CALLS = f"rate(assure_agent_api_requests_total{{{ONE}}}{WINDOW})"
_API = Row(
    title="Assure",
    panels=(
        Panel(
            title="Calls by answer",
            description="Done: the call happened. Refused: it did not. Busy: it did not, and the agent retries. "
            "Unknown: it may have happened. The 404 that confirms a deletion counts as refused.",
            unit="reqps",
            queries=(Query(f"sum by (result) ({_CALLS})", "{{result}}"),),
            section="assure-failing",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Calls by operation",
            description="The rate of calls to Assure, by operation.",
            unit="reqps",
            queries=(Query(f"sum by (operation) ({_CALLS}) > 0", "{{operation}}"),),
            section="assure-failing",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Duration of calls, p99",
            description="The time within which 99 % of the calls end, by operation.",
            unit="s",
            queries=(
                Query(quantile(0.99, "assure_agent_api_request_duration_seconds", "operation", ONE), "{{operation}}"),
            ),
            section="assure-failing",
            width=8,
        ),
        Panel(
            title="Circuit breaker",
            description="1 while the circuit breaker is open and the agent sends only probes.",
            unit="short",
            queries=(Query(f"max by (instance) (assure_agent_circuit_open{{{ONE}}})", "{{instance}}"),),
            section="circuit-open",
        ),
        Panel(
            title="Clock difference",
            description="Seconds by which the host's clock is ahead of Assure's. They do not affect deadlines.",
            unit="s",
            queries=(Query(f"max by (instance) (assure_agent_clock_skew_seconds{{{ONE}}})", "{{instance}}"),),
            section="clock",
        ),
        Panel(
            title="Unknown answers by operation",
            description="Calls that may or may not have happened. The agent searches for dossiers that they created.",
            unit="reqps",
            queries=(
                Query(
                    "sum by (operation) "
                    f'(rate(assure_agent_api_requests_total{{{ONE},result="unknown"}}{WINDOW})) > 0 or vector(0)',
                    "{{operation}}",
                ),
            ),
            section="assure-failing",
        ),
    ),
)

_EVENTS = Row(
    title="Events and deliveries",
    panels=(
        Panel(
            title="Events of Assure",
            description="Assure Events received, by result.",
            unit="reqps",
            queries=(Query(f"sum by (result) (rate(assure_agent_events_total{{{ONE}}}{WINDOW}))", "{{result}}"),),
            section="events-silent",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Time since the last event",
            description="Without events the agent polls, so results only arrive later.",
            unit="s",
            queries=(
                Query(
                    f"time() - max by (instance) (assure_agent_last_event_timestamp_seconds{{{ONE}}} > 0) or vector(0)",
                    "{{instance}}",
                ),
            ),
            section="events-silent",
            width=8,
        ),
        Panel(
            title="Pending deliveries",
            description="Notifications that no sink has accepted yet.",
            unit="short",
            queries=(Query(f"sum by (instance) (assure_agent_deliveries_pending{{{ONE}}})", "{{instance}}"),),
            section="deliveries",
            width=8,
        ),
        Panel(
            title="Dropped connections",
            description="Connections that a listener closed, by the limit that the peer exceeded.",
            unit="cps",
            queries=(
                Query(
                    f"sum by (listener, reason) (rate(assure_agent_connections_dropped_total{{{ONE}}}{WINDOW}))",
                    "{{listener}} {{reason}}",
                ),
            ),
            section="connections",
            width=24,
        ),
    ),
)

_STORE = Row(
    title="Store",
    panels=(
        Panel(
            title="Commit, p50 p90 p99",
            description="Duration of a group commit, including its fsync.",
            unit="s",
            queries=quantiles("assure_agent_commit_duration_seconds", ONE),
            section="store",
            width=6,
        ),
        Panel(
            title="Transitions per commit",
            description="The average number of transitions that share an fsync.",
            unit="short",
            queries=(
                Query(
                    f"sum(rate(assure_agent_commit_batch_size_sum{{{ONE}}}{WINDOW}))"
                    f" / sum(rate(assure_agent_commit_batch_size_count{{{ONE}}}{WINDOW}))",
                    "transitions",
                ),
            ),
            section="store",
            width=6,
        ),
        Panel(
            title="Size of the store",
            description="Bytes of the database and its write-ahead log.",
            unit="bytes",
            queries=(Query(f"sum by (instance) (assure_agent_store_bytes{{{ONE}}})", "{{instance}}"),),
            section="store",
            width=6,
        ),
        Panel(
            title="Age of the last backup",
            description="Time since the last verified backup. 0 means that there is no backup yet.",
            unit="s",
            queries=(
                Query(
                    f"time() - max by (instance) (assure_agent_backup_timestamp_seconds{{{ONE}}} > 0) or vector(0)",
                    "{{instance}}",
                ),
            ),
            section="backup-old",
            width=6,
        ),
    ),
)

OVERVIEW = Dashboard(
    uid="assure-agent-overview",
    title="Assure Agent / Overview",
    description="Throughput, outcomes, latency, backlog, and how Assure answers.",
    variables=(AGENT, MODE, PROCESS_TYPE),
    rows=(_GLANCE, _THROUGHPUT, _LATENCY, _BACKLOG, _API, _EVENTS, _STORE),
)
