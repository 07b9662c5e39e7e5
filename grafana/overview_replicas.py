"""The row of the overview on the replicas of a database."""

from grafana.panels import Panel, Query, Row
from grafana.queries import ONE, WINDOW

REPLICAS = Row(
    title="Replicas",
    panels=(
        Panel(
            title="Requests that each replica works on",
            description="How the open requests are shared. A replica without requests waits, or has no lease.",
            unit="short",
            queries=(Query(f"sum by (instance) (assure_agent_requests_driven{{{ONE}}})", "{{instance}}"),),
            section="fenced",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Time left of the lease",
            description="A replica renews its lease at a third of REPLICA_LEASE. Empty with a state file.",
            unit="s",
            queries=(
                Query(f"min by (instance) (assure_agent_lease_remaining_seconds{{{ONE}}}) < Inf", "{{instance}}"),
            ),
            empty="a state file has no lease",
            section="fenced",
            width=8,
        ),
        Panel(
            title="Lives that ended",
            description="A replica did not renew its lease in time, and another one took its work.",
            unit="short",
            queries=(
                Query(f"sum by (instance) (increase(assure_agent_fenced_total{{{ONE}}}{WINDOW}))", "{{instance}}"),
            ),
            section="fenced",
            width=8,
        ),
        Panel(
            title="Oldest transaction of the database",
            description="An old transaction keeps old rows, and makes the search for due requests slower.",
            unit="s",
            queries=(Query(f"max(assure_agent_oldest_snapshot_seconds{{{ONE}}})", "oldest"),),
            empty="a state file has none",
            section="old-snapshot",
            steps=((None, "green"), (300.0, "red")),
        ),
        Panel(
            title="Replicas whose source lags",
            description="Replicas that have not fetched the revision that another one acts on.",
            unit="short",
            queries=(Query(f"sum(assure_agent_source_lagging{{{ONE}}})", "lagging"),),
            section="source-lagging",
        ),
    ),
)
