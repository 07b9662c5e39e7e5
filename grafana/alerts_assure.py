"""The alerts on Assure, on events, and on personal data that is kept for too long."""

from grafana.alerts_agent import AT
from grafana.objectives import Alert, Times, once


def personal_data_alerts() -> list[Alert]:
    """Personal data that is kept for too long."""
    return [
        Alert(
            name="AssureAgentOrphanUndeleted",
            expression=f"{once('assure_agent_orphans_undeleted')} > 0",
            hold="30m",
            severity="ticket",
            summary="A dossier without a request is at Assure, and the agent could not delete it for half an hour.",
            finding="orphans that are not deleted: {{ $value }}.",
            section="orphans",
            firing={f"assure_agent_orphans_undeleted{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentPossibleOrphan",
            expression=f"{once('assure_agent_possible_orphans')} - {once('assure_agent_orphans_undeleted')} > 0",
            hold="2h",
            severity="info",
            summary="A dossier without a request may exist at Assure. The agent searches for it. No action is needed.",
            finding="possible orphans: {{ $value }}.",
            section="orphans",
            firing={
                f"assure_agent_possible_orphans{{{AT}}}": "1x240",
                f"assure_agent_orphans_undeleted{{{AT}}}": "0x240",
            },
        ),
        Alert(
            name="AssureAgentDeletionsOverdue",
            expression=f"{once('assure_agent_deletions_overdue')} > 0",
            hold="5m",
            severity="page",
            summary="The deletion of a dossier has been overdue for more than 15 minutes.",
            finding="overdue deletions: {{ $value }}.",
            section="deletions-overdue",
            firing={f"assure_agent_deletions_overdue{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentImagesUndeleted",
            expression=f"{once('assure_agent_images_undeleted')} > 0",
            hold="15m",
            severity="ticket",
            summary="The agent cannot delete image files of finished requests.",
            finding="requests with images that are left: {{ $value }}.",
            section="images-undeleted",
            firing={f"assure_agent_images_undeleted{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentClaimsOverdue",
            expression=f"{once('assure_agent_claims_overdue')} > 0",
            hold="5m",
            severity="ticket",
            summary="The erasure of claims has been overdue for more than 15 minutes.",
            finding="overdue claims: {{ $value }}.",
            section="claims-overdue",
            firing={f"assure_agent_claims_overdue{{{AT}}}": "1x240"},
        ),
    ]


def assure_alerts(times: Times) -> list[Alert]:
    """Calls to Assure, and its clock."""
    return [
        Alert(
            name="AssureAgentCircuitOpen",
            expression=f"{once('assure_agent_circuit_open')} > 0",
            hold="5m",
            severity="page",
            summary="The circuit breaker is open: too many calls to Assure failed, and the agent sends only probes.",
            finding="circuit_open is {{ $value }}.",
            section="circuit-open",
            firing={f"assure_agent_circuit_open{{{AT}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentCredentials",
            expression='max by (job) (assure_agent_endpoint_trouble{cause="credentials"}) > 0',
            hold="1m",
            severity="page",
            summary="Assure refuses the agent's credentials or permissions. No request makes progress.",
            finding="endpoint_trouble is {{ $value }}.",
            section="credentials",
            firing={f'assure_agent_endpoint_trouble{{{AT},endpoint="token",cause="credentials"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentClockWrong",
            expression="abs(assure_agent_clock_skew_seconds) > 60",
            hold="5m",
            severity="ticket",
            summary="The host's clock differs from Assure's by more than a minute.",
            finding="the clocks differ by {{ $value | humanizeDuration }}.",
            reading="1d 1h 0m 0s",
            section="clock",
            firing={f"assure_agent_clock_skew_seconds{{{AT}}}": "90000x240"},
        ),
        Alert(
            name="AssureAgentClockUnconfirmed",
            expression="assure_agent_clock_confirmed == 0",
            hold="10m",
            severity="page",
            summary="Assure has not confirmed the agent's time, so requests wait and nothing expires.",
            finding="clock_confirmed is {{ $value }}.",
            reading="0",
            section="clock",
            firing={f"assure_agent_clock_confirmed{{{AT}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentAssureFailing",
            expression=(
                f'sum by (job) (rate(assure_agent_api_requests_total{{result=~"busy|unknown"}}[{times("10m")}]))'
                f" > 0.5 * sum by (job) (rate(assure_agent_api_requests_total[{times('10m')}]))"
            ),
            hold="5m",
            severity="page",
            summary="More than half of the calls to Assure fail.",
            finding="failed calls per second: {{ $value | humanize }}.",
            section="assure-failing",
            firing={f'assure_agent_api_requests_total{{{AT},operation="read_process",result="busy"}}': "0+60x240"},
        ),
    ]


def event_alerts(times: Times) -> list[Alert]:
    """Events, deliveries and listeners."""
    return [
        Alert(
            name="AssureAgentEventsSilent",
            expression=(
                f"time() - ({once('assure_agent_last_event_timestamp_seconds')} > 0) > {times.seconds(3600)}"
                " and on (job) sum by (job) (" + once('assure_agent_requests{phase="result"}') + ") > 0"
                " and on (job) sum by (job) (" + once(f"increase(assure_agent_outcomes_total[{times('1h')}])") + ") > 0"
            ),
            hold="10m",
            severity="ticket",
            summary="No Assure Event arrived for an hour, although results did. The agent polls instead.",
            finding="the last event arrived {{ $value | humanizeDuration }} ago.",
            reading="3h 59m 59s",
            section="events-silent",
            firing={
                f"assure_agent_last_event_timestamp_seconds{{{AT}}}": "1x240",
                f'assure_agent_requests{{{AT},phase="result",state="waiting"}}': "5x240",
                f'assure_agent_outcomes_total{{{AT},outcome="accepted"}}': "0+1x240",
            },
        ),
        Alert(
            name="AssureAgentDeliveriesPending",
            expression=once(f"min_over_time(assure_agent_deliveries_pending[{times('30m')}])") + " > 0",
            hold="5m",
            severity="ticket",
            summary="A sink accepted no notifications for half an hour. The agent keeps them.",
            finding="notifications that wait: {{ $value }}.",
            reading="3",
            section="deliveries",
            firing={f"assure_agent_deliveries_pending{{{AT}}}": "3x240"},
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
            finding="{{ $labels.listener }} drops {{ $value | humanize }} connections per second.",
            section="connections",
            firing={f'assure_agent_connections_dropped_total{{{AT},listener="listen",reason="crowded"}}': "0+60x240"},
        ),
    ]
