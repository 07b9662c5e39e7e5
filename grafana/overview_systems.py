"""The rows of the overview on Assure, events and the store."""

from grafana.panels import Panel, Query, Row
from grafana.queries import CIRCUIT, NOTHING, ONE, WINDOW, quantile, quantiles

_CALLS = f"rate(assure_agent_api_requests_total{{{ONE}}}{WINDOW})"
API = Row(
    title="Assure",
    panels=(
        Panel(
            title="Calls by answer",
            description="Done: the call happened. Refused: it did not. Busy: it did not, and the agent retries. "
            "Unknown: it may have happened. The 404 that confirms a deletion counts as refused.",
            unit="reqps",
            queries=(Query(f"sum by (result) ({_CALLS})", "{{result}}"),),
            empty=NOTHING,
            section="assure-failing",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Calls by operation",
            description="The rate of calls to Assure, by operation.",
            unit="reqps",
            queries=(Query(f"sum by (operation) ({_CALLS}) > 0", "{{operation}}"),),
            empty=NOTHING,
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
            empty=NOTHING,
            section="assure-failing",
            width=8,
        ),
        Panel(
            title="Circuit breaker",
            description="While the circuit breaker is open, the agent sends only probes.",
            unit="short",
            queries=(Query(f"max without (instance, pod) (assure_agent_circuit_open{{{ONE}}})", "all"),),
            section="circuit-open",
            words=CIRCUIT,
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

EVENTS = Row(
    title="Events and deliveries",
    panels=(
        Panel(
            title="Events of Assure",
            description="Assure Events received, by result.",
            unit="reqps",
            queries=(Query(f"sum by (result) (rate(assure_agent_events_total{{{ONE}}}{WINDOW}))", "{{result}}"),),
            empty=NOTHING,
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
            queries=(Query(f"max without (instance, pod) (assure_agent_deliveries_pending{{{ONE}}})", "all"),),
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

STORE = Row(
    title="Store",
    panels=(
        Panel(
            title="Commit, p50 p90 p99",
            description="Duration of a group commit, including its fsync. With a database, including the network.",
            unit="s",
            queries=quantiles("assure_agent_commit_duration_seconds", ONE),
            empty=NOTHING,
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
            empty=NOTHING,
            section="store",
            width=6,
        ),
        Panel(
            title="Size of the store",
            description="Bytes of the state file and its write-ahead log, or of the tables in the database.",
            unit="bytes",
            queries=(Query(f"max without (instance, pod) (assure_agent_store_bytes{{{ONE}}})", "all"),),
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
