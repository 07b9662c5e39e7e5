"""All alerting rules, by topic."""

from grafana.objectives import OBJECTIVES, Alert, Times, burn_alerts

_AT = 'instance="agent:9464"'  # the label of the series in tests


def alerts(times: Times) -> list[Alert]:
    """All alerts. The rules file keeps their order."""
    return [
        *_process(times),
        *_requests(times),
        *_personal_data(),
        *_assure(times),
        *_events(times),
        *_operation(times),
        *(alert for objective in OBJECTIVES for alert in burn_alerts(objective)),
    ]


def _process(times: Times) -> list[Alert]:
    return [
        Alert(
            name="AssureAgentDown",
            expression='up{job="assure-agent"} == 0',
            hold="2m",
            severity="page",
            summary="Prometheus cannot reach the agent. While it is down, no dossier is created or deleted.",
            section="down",
            firing={f'up{{job="assure-agent",{_AT}}}': "0x240"},
        ),
        Alert(
            name="AssureAgentAbsent",
            expression='absent(up{job="assure-agent"})',
            hold="5m",
            severity="page",
            summary="Prometheus scrapes no agent, so no other alert can fire. Its configuration has no such target.",
            section="absent",
            firing={'up{job="node",instance="agent:9100"}': "1x240"},
        ),
        Alert(
            name="AssureAgentPaused",
            expression="assure_agent_paused > 0",
            hold="1h",
            severity="ticket",
            summary="The agent has been paused for an hour. It starts no new work until `assure-agent resume`.",
            section="paused",
            firing={f"assure_agent_paused{{{_AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentLogLinesLost",
            expression=f"increase(assure_agent_log_lines_lost_total[{times('15m')}]) > 0",
            hold="1m",
            severity="ticket",
            summary="The agent cannot write log lines. Requests continue.",
            section="log-lines-lost",
            firing={f"assure_agent_log_lines_lost_total{{{_AT}}}": "0+1x240"},
        ),
    ]


def _requests(times: Times) -> list[Alert]:
    return [
        Alert(
            name="AssureAgentStuck",
            expression=f"assure_agent_oldest_unprogressed_seconds > {times.seconds(1800)}",
            hold="5m",
            severity="page",
            summary="An active request made no progress for more than half an hour.",
            section="stuck",
            firing={f"assure_agent_oldest_unprogressed_seconds{{{_AT}}}": "0+60x240"},
        ),
        Alert(
            name="AssureAgentHeld",
            expression="sum by (instance) (assure_agent_held) > 0",
            hold="15m",
            severity="ticket",
            summary="A request waits for a decision of the operator.",
            section="held",
            firing={f'assure_agent_held{{{_AT},reason="unexpected-answer"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentSourceStale",
            expression=f"time() - assure_agent_source_last_sync_timestamp_seconds > {times.seconds(300)}",
            hold="1m",
            severity="page",
            summary="The agent could not scan the folder of request files for more than 5 minutes.",
            section="source-stale",
            firing={f"assure_agent_source_last_sync_timestamp_seconds{{{_AT}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentFilesRefused",
            expression='assure_agent_source_files{state="refused"} > 0',
            hold="15m",
            severity="ticket",
            summary="The agent refuses documents in the folder. Other requests continue.",
            section="source-stale",
            firing={f'assure_agent_source_files{{{_AT},state="refused"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentWithdrawalsWaiting",
            expression='assure_agent_source_files{state="waiting_withdrawal"} > 0',
            hold="5m",
            severity="page",
            summary="Many files disappeared at once. The withdrawals wait for `assure-agent approve`.",
            section="withdrawals-waiting",
            firing={f'assure_agent_source_files{{{_AT},state="waiting_withdrawal"}}': "7x240"},
        ),
    ]


def _personal_data() -> list[Alert]:
    return [
        Alert(
            name="AssureAgentOrphanUndeleted",
            expression="assure_agent_orphans_undeleted > 0",
            hold="30m",
            severity="ticket",
            summary="A dossier without a request is at Assure, and the agent could not delete it for half an hour.",
            section="orphans",
            firing={f"assure_agent_orphans_undeleted{{{_AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentPossibleOrphan",
            expression="assure_agent_possible_orphans - assure_agent_orphans_undeleted > 0",
            hold="2h",
            severity="info",
            summary="A dossier without a request may exist at Assure. The agent searches for it. No action is needed.",
            section="orphans",
            firing={
                f"assure_agent_possible_orphans{{{_AT}}}": "1x240",
                f"assure_agent_orphans_undeleted{{{_AT}}}": "0x240",
            },
        ),
        Alert(
            name="AssureAgentDeletionsOverdue",
            expression="assure_agent_deletions_overdue > 0",
            hold="5m",
            severity="page",
            summary="The deletion of a dossier has been overdue for more than 15 minutes.",
            section="deletions-overdue",
            firing={f"assure_agent_deletions_overdue{{{_AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentImagesUndeleted",
            expression="assure_agent_images_undeleted > 0",
            hold="15m",
            severity="ticket",
            summary="The agent cannot delete image files of finished requests.",
            section="images-undeleted",
            firing={f"assure_agent_images_undeleted{{{_AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentClaimsOverdue",
            expression="assure_agent_claims_overdue > 0",
            hold="5m",
            severity="ticket",
            summary="The erasure of claims has been overdue for more than 15 minutes.",
            section="claims-overdue",
            firing={f"assure_agent_claims_overdue{{{_AT}}}": "1x240"},
        ),
    ]


def _assure(times: Times) -> list[Alert]:
    return [
        Alert(
            name="AssureAgentCircuitOpen",
            expression="assure_agent_circuit_open > 0",
            hold="5m",
            severity="page",
            summary="The circuit breaker is open: too many calls to Assure failed, and the agent sends only probes.",
            section="circuit-open",
            firing={f"assure_agent_circuit_open{{{_AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentCredentials",
            expression='max by (instance) (assure_agent_endpoint_trouble{cause="credentials"}) > 0',
            hold="1m",
            severity="page",
            summary="Assure refuses the agent's credentials or permissions. No request makes progress.",
            section="credentials",
            firing={f'assure_agent_endpoint_trouble{{{_AT},endpoint="token",cause="credentials"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentClockWrong",
            expression="abs(assure_agent_clock_skew_seconds) > 60",
            hold="5m",
            severity="ticket",
            summary="The host's clock differs from Assure's by more than a minute.",
            section="clock",
            firing={f"assure_agent_clock_skew_seconds{{{_AT}}}": "90000x240"},
        ),
        Alert(
            name="AssureAgentClockUnconfirmed",
            expression="assure_agent_clock_confirmed == 0",
            hold="10m",
            severity="page",
            summary="Assure has not confirmed the agent's time, so requests wait and nothing expires.",
            section="clock",
            firing={f"assure_agent_clock_confirmed{{{_AT}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentAssureFailing",
            expression=(
                f'sum by (instance) (rate(assure_agent_api_requests_total{{result=~"busy|unknown"}}[{times("10m")}]))'
                f" > 0.5 * sum by (instance) (rate(assure_agent_api_requests_total[{times('10m')}]))"
            ),
            hold="5m",
            severity="page",
            summary="More than half of the calls to Assure fail.",
            section="assure-failing",
            firing={f'assure_agent_api_requests_total{{{_AT},operation="read_process",result="busy"}}': "0+60x240"},
        ),
    ]


def _events(times: Times) -> list[Alert]:
    return [
        Alert(
            name="AssureAgentEventsSilent",
            expression=(
                f"time() - (assure_agent_last_event_timestamp_seconds > 0) > {times.seconds(3600)}"
                ' and on (instance) sum by (instance) (assure_agent_requests{phase="result"}) > 0'
                f" and on (instance) sum by (instance) (increase(assure_agent_outcomes_total[{times('1h')}])) > 0"
            ),
            hold="10m",
            severity="ticket",
            summary="No Assure Event arrived for an hour, although results did. The agent polls instead.",
            section="events-silent",
            firing={
                f"assure_agent_last_event_timestamp_seconds{{{_AT}}}": "1x240",
                f'assure_agent_requests{{{_AT},phase="result",state="waiting"}}': "5x240",
                f'assure_agent_outcomes_total{{{_AT},outcome="accepted"}}': "0+1x240",
            },
        ),
        Alert(
            name="AssureAgentDeliveriesPending",
            expression=f"min_over_time(assure_agent_deliveries_pending[{times('30m')}]) > 0",
            hold="5m",
            severity="ticket",
            summary="A sink accepted no notifications for half an hour. The agent keeps them.",
            section="deliveries",
            firing={f"assure_agent_deliveries_pending{{{_AT}}}": "3x240"},
        ),
        Alert(
            name="AssureAgentListenerCrowded",
            expression=(
                "sum by (instance, listener) (rate(assure_agent_connections_dropped_total"
                f'{{reason="crowded"}}[{times("10m")}])) > 0.1'
            ),
            hold="10m",
            severity="ticket",
            summary="A listener has reached its connection limit and drops its oldest connections.",
            section="connections",
            firing={f'assure_agent_connections_dropped_total{{{_AT},listener="listen",reason="crowded"}}': "0+60x240"},
        ),
    ]


def _operation(times: Times) -> list[Alert]:
    return [
        Alert(
            name="AssureAgentBackupOld",
            expression="time() - (assure_agent_backup_timestamp_seconds > 0)"
            f" > clamp_min(2 * assure_agent_backup_interval_seconds, {times.seconds(2 * 86400)})",
            hold="5m",
            severity="ticket",
            summary="The last backup is older than two days, and older than twice the interval.",
            section="backup-old",
            firing={
                f"assure_agent_backup_timestamp_seconds{{{_AT}}}": "1x3000",
                f"assure_agent_backup_interval_seconds{{{_AT}}}": "86400x3000",
            },
            after="50h",
        ),
        Alert(
            name="AssureAgentBackupMissing",
            expression="assure_agent_backup_interval_seconds > 0 and assure_agent_backup_timestamp_seconds == 0",
            hold="1h",
            severity="ticket",
            summary="BACKUP_DIR is set, but the agent has made no backup yet.",
            section="backup-old",
            firing={
                f"assure_agent_backup_timestamp_seconds{{{_AT}}}": "0x240",
                f"assure_agent_backup_interval_seconds{{{_AT}}}": "86400x240",
            },
            after="90m",
        ),
        Alert(
            name="AssureAgentBudgetSpent",
            expression="assure_agent_start_budget_remaining <= 0",
            hold="1m",
            severity="ticket",
            summary="The start budget of the day is used up. New requests wait until tomorrow (UTC).",
            section="budget",
            firing={f"assure_agent_start_budget_remaining{{{_AT}}}": "0x240"},
        ),
    ]
