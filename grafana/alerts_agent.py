"""The alerts on the agent itself: its process, requests, backups, database and disk."""

from grafana.objectives import Alert, Times, once

AT = 'instance="agent:9464"'  # the label of the series in tests


def process_alerts(times: Times) -> list[Alert]:
    """The process: down, absent, paused, silent."""
    return [
        Alert(
            name="AssureAgentDown",
            expression='sum by (job) (up{job="assure-agent"}) == 0',
            hold="2m",
            severity="page",
            summary="Prometheus reaches no agent. While none is up, no dossier is created or deleted.",
            finding="agents that are up: {{ $value }}.",
            reading="0",
            section="down",
            firing={f'up{{job="assure-agent",{AT}}}': "0x240"},
        ),
        Alert(
            name="AssureAgentReplicaDown",
            expression='up{job="assure-agent"} == 0 and on (job) sum by (job) (up{job="assure-agent"}) > 0',
            hold="10m",
            severity="ticket",
            summary="Prometheus cannot reach a replica. The others do its work.",
            finding="up is {{ $value }}.",
            reading="0",
            section="down",
            firing={
                f'up{{job="assure-agent",{AT}}}': "0x240",
                'up{job="assure-agent",instance="other:9464"}': "1x240",
            },
        ),
        Alert(
            name="AssureAgentAbsent",
            expression='absent(up{job="assure-agent"})',
            hold="5m",
            severity="page",
            summary="Prometheus scrapes no agent, so no other alert can fire. Its configuration has no such target.",
            finding="No target has the job {{ $labels.job }} (absent: {{ $value }}).",
            section="absent",
            firing={'up{job="node",instance="agent:9100"}': "1x240"},
        ),
        Alert(
            name="AssureAgentPaused",
            expression=f"{once('assure_agent_paused')} > 0",
            hold="1h",
            severity="ticket",
            summary="The agent has been paused for an hour. It starts no new work until `assure-agent resume`.",
            finding="paused is {{ $value }}.",
            section="paused",
            firing={f"assure_agent_paused{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentLogLinesLost",
            expression=f"increase(assure_agent_log_lines_lost_total[{times('15m')}]) > 0",
            hold="1m",
            severity="ticket",
            summary="The agent cannot write log lines. Requests continue.",
            finding="{{ $value | humanize }} log lines were lost in 15 minutes.",
            reading="15",
            section="log-lines-lost",
            firing={f"assure_agent_log_lines_lost_total{{{AT}}}": "0+1x240"},
        ),
    ]


def request_alerts(times: Times) -> list[Alert]:
    """Requests and their files."""
    return [
        Alert(
            name="AssureAgentStuck",
            expression=f"{once('assure_agent_oldest_unprogressed_seconds')} > {times.seconds(1800)}",
            hold="5m",
            severity="page",
            summary="An active request made no progress for more than half an hour.",
            finding="no progress for {{ $value | humanizeDuration }}.",
            reading="4h 0m 0s",
            section="stuck",
            firing={f"assure_agent_oldest_unprogressed_seconds{{{AT}}}": "0+60x240"},
        ),
        Alert(
            name="AssureAgentHeld",
            expression=f"sum by (job) ({once('assure_agent_held')}) > 0",
            hold="15m",
            severity="ticket",
            summary="A request waits for a decision of the operator.",
            finding="requests that wait: {{ $value }}.",
            section="held",
            firing={f'assure_agent_held{{{AT},reason="unexpected-answer"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentSourceStale",
            expression=f"time() - {once('assure_agent_source_last_sync_timestamp_seconds')} > {times.seconds(300)}"
            f" unless ({once('assure_agent_source_interval_seconds')} > 0"
            f" and {once('assure_agent_source_scan_complete')} > 0)",
            hold="1m",
            severity="page",
            summary="The agent could not scan the folder of request files for more than 5 minutes.",
            finding="the last complete scan was {{ $value | humanizeDuration }} ago.",
            reading="4h 0m 0s",
            section="source-stale",
            firing={f"assure_agent_source_last_sync_timestamp_seconds{{{AT}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentFilesRefused",
            expression=once('assure_agent_source_files{state="refused"}') + " > 0",
            hold="15m",
            severity="ticket",
            summary="The agent refuses documents in the folder. Other requests continue.",
            finding="refused documents: {{ $value }}.",
            section="source-stale",
            firing={f'assure_agent_source_files{{{AT},state="refused"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentWithdrawalsWaiting",
            expression=once('assure_agent_source_files{state="waiting_withdrawal"}') + " > 0",
            hold="5m",
            severity="page",
            summary="Many files disappeared at once. The withdrawals wait for `assure-agent approve`.",
            finding="withdrawals that wait: {{ $value }}.",
            reading="7",
            section="withdrawals-waiting",
            firing={f'assure_agent_source_files{{{AT},state="waiting_withdrawal"}}': "7x240"},
        ),
    ]


def operation_alerts(times: Times) -> list[Alert]:
    """Backups, the start budget, the database and the disk."""
    return [
        Alert(
            name="AssureAgentBackupOld",
            expression=f"time() - ({once('assure_agent_backup_timestamp_seconds')} > 0)"
            f" > clamp_min(2 * {once('assure_agent_backup_interval_seconds')}, {times.seconds(2 * 86400)})",
            hold="5m",
            severity="ticket",
            summary="The last backup is older than two days, and older than twice the interval.",
            finding="the last backup is {{ $value | humanizeDuration }} old.",
            reading="2d 1h 59m 59s",
            section="backup-old",
            firing={
                f"assure_agent_backup_timestamp_seconds{{{AT}}}": "1x3000",
                f"assure_agent_backup_interval_seconds{{{AT}}}": "86400x3000",
            },
            after="50h",
        ),
        Alert(
            name="AssureAgentBackupMissing",
            expression=f"{once('assure_agent_backup_interval_seconds')} > 0"
            f" and {once('assure_agent_backup_timestamp_seconds')} == 0",
            hold="1h",
            severity="ticket",
            summary="BACKUP_DIR is set, but the agent has made no backup yet.",
            finding="a backup is due every {{ $value | humanizeDuration }}.",
            reading="1d 0h 0m 0s",
            section="backup-old",
            firing={
                f"assure_agent_backup_timestamp_seconds{{{AT}}}": "0x240",
                f"assure_agent_backup_interval_seconds{{{AT}}}": "86400x240",
            },
            after="90m",
        ),
        Alert(
            name="AssureAgentBudgetSpent",
            expression=f"{once('assure_agent_start_budget_remaining', 'min')} <= 0",
            hold="1m",
            severity="ticket",
            summary="The start budget of the day is used up. New requests wait until tomorrow (UTC).",
            finding="starts left today: {{ $value }}.",
            reading="0",
            section="budget",
            firing={f"assure_agent_start_budget_remaining{{{AT}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentDatabaseAway",
            expression=f"{once('assure_agent_database_away', 'min')} > 0",
            hold="2m",
            severity="page",
            summary="The server of the database answers no agent. All agents wait, and no request makes progress.",
            finding="database_away is {{ $value }}.",
            section="database-away",
            firing={f"assure_agent_database_away{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentStoreSpaceLow",
            expression="assure_agent_store_free_bytes < 100 * 1024 * 1024",
            hold="5m",
            severity="page",
            summary="The file system of the state file is almost full. Without space the agent stops its work.",
            finding="free space: {{ $value | humanize1024 }}B.",
            reading="10Mi",
            section="store",
            firing={f"assure_agent_store_free_bytes{{{AT}}}": "10485760x240"},
        ),
    ]
