"""The first row of the overview: the most important figures, each with a colour and a word."""

from grafana.panels import Panel, Query, Row
from grafana.queries import CIRCUIT, GOOD_IS_ZERO, NO_LIMIT, ONE


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


GLANCE = Row(
    title="At a glance",
    panels=(
        _stat(
            "Held",
            "Requests that wait for an operator. `assure-agent get` lists them, `explain NAME` prints the command.",
            "short",
            f"sum(max without (instance, pod) (assure_agent_held{{{ONE}}}))",
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
            "Open: too many calls failed, and the agent sends only probes.",
            "short",
            f"max(assure_agent_circuit_open{{{ONE}}})",
            "circuit-open",
            steps=GOOD_IS_ZERO,
            words=CIRCUIT,
        ),
        _stat(
            "Starts left today",
            "Starts that MAX_STARTS_PER_DAY still allows today.",
            "short",
            f"min(assure_agent_start_budget_remaining{{{ONE}}})",
            "budget",
            steps=((None, "red"), (1.0, "green")),
            words=NO_LIMIT,
        ),
        _stat(
            "Source age",
            "Time since the last complete scan of the folder of request files.",
            "s",
            f"time() - max(assure_agent_source_last_sync_timestamp_seconds{{{ONE}}})",
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
        _stat(
            "Up",
            "Down: Prometheus reaches no agent.",
            "short",
            'max(up{job="assure-agent",instance=~"$agent"})',
            "down",
            steps=((None, "red"), (1.0, "green")),
            words=(("0", "down", "red"), ("1", "up", "green")),
            empty="no target: see the runbook, section absent",
        ),
        Panel(
            title="Version",
            description="The version of the running agent.",
            unit="short",
            queries=(Query(f"max by (version) (assure_agent_build_info{{{ONE}}})", "{{version}}"),),
            section="down",
            kind="stat",
            width=4,
            height=4,
            text="name",
        ),
        _stat(
            "Running for",
            "Time since the start of the process. A purple line in the panels marks a restart. Only on Linux.",
            "s",
            'time() - max(process_start_time_seconds{job="assure-agent",instance=~"$agent"})',
            "down",
            empty="only on Linux",
        ),
        _stat(
            "Work",
            "Paused: an operator paused the agent, and it starts no new work until `assure-agent resume`."
            " Database away: all work waits for the server of the database.",
            "short",
            f"max(assure_agent_paused{{{ONE}}}) + 2 * (min(assure_agent_database_away{{{ONE}}}) or vector(0))",
            "paused",
            steps=GOOD_IS_ZERO,
            words=(("0", "running", "green"), ("1", "paused", "red"), *((n, "database away", "red") for n in "23")),
        ),
        _stat(
            "Replicas",
            "Agents that run on the store: 1 with a state file.",
            "short",
            f"max(assure_agent_replicas{{{ONE}}})",
            "down",
            steps=((None, "red"), (1.0, "green")),
        ),
        _stat(
            "Credentials",
            "Refused: Assure does not accept the agent's credentials, and no request makes progress.",
            "short",
            f'max(assure_agent_endpoint_trouble{{{ONE},cause="credentials"}})',
            "credentials",
            steps=GOOD_IS_ZERO,
            words=(("0", "accepted", "green"), ("1", "refused", "red")),
        ),
        _stat(
            "Free space",
            "Bytes that the agent can still write to the file system of the state file. Empty with a database.",
            "bytes",
            f"min(assure_agent_store_free_bytes{{{ONE}}} >= 0)",
            "store",
            empty="a database: see its server",
            steps=((None, "red"), (100.0 * 2**20, "orange"), (2.0**30, "green")),
        ),
    ),
)
