"""The alerts on the replicas of a database."""

from grafana.alerts_agent import AT
from grafana.objectives import Alert, Times, once


def replica_alerts(times: Times) -> list[Alert]:
    """Replicas of a database. None of them fires with a state file."""
    return [
        Alert(
            name="AssureAgentFenced",
            expression=f"increase(assure_agent_fenced_total[{times('1h')}]) > 0",
            hold="1m",
            severity="ticket",
            summary="A replica did not renew its lease in time. Other replicas took its work, and it began again.",
            finding="{{ $value | humanize }} lives ended within an hour.",
            reading="60",
            section="fenced",
            firing={f"assure_agent_fenced_total{{{AT}}}": "0+1x240"},
        ),
        Alert(
            name="AssureAgentSourceLagging",
            expression="assure_agent_source_lagging > 0",
            hold="10m",
            severity="ticket",
            summary="A replica has not fetched the revision of the source that another one acts on.",
            finding="source_lagging is {{ $value }}.",
            section="source-lagging",
            firing={f"assure_agent_source_lagging{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentDatabaseBehind",
            expression=f"{once('assure_agent_database_behind')} > 0",
            hold="1m",
            severity="page",
            summary="The database may have lost transactions that it had confirmed. The agents start nothing new.",
            finding="database_behind is {{ $value }}.",
            section="database-behind",
            firing={f"assure_agent_database_behind{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentOldSnapshot",
            expression=f"{once('assure_agent_oldest_snapshot_seconds')} > {times.seconds(300)}",
            hold="1m",
            severity="ticket",
            summary="A transaction on the database is more than 5 minutes old. The work of the agents becomes slower.",
            finding="the oldest transaction began {{ $value | humanizeDuration }} ago.",
            reading="4h 0m 0s",
            section="old-snapshot",
            firing={f"assure_agent_oldest_snapshot_seconds{{{AT}}}": "0+60x240"},
        ),
    ]
