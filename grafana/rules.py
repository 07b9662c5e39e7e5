"""Recording and alerting rules. One `Times` scales every duration, so that tests can run the rules faster.

Burn rates and windows follow the Site Reliability Workbook, chapter 5. A burn of 14.4 times over 1 h and 5 min raises a
page, because it uses 2 % of a month's budget in an hour. So does a burn of 6 times over 6 h and 30 min. A burn of 1
over 3 d and 6 h raises a ticket.
"""

from dataclasses import dataclass
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Times:
    """Durations as PromQL writes them, divided by `speed`."""

    speed: float = 1.0

    def __call__(self, text: str) -> str:
        """`5m` as it is, or divided by the speed. The result is at least one second."""
        if self.speed == 1.0:
            return text
        return f"{max(1, round(int(text[:-1]) * _UNITS[text[-1]] / self.speed))}s"

    def seconds(self, seconds: float) -> str:
        """A number of seconds for a comparison."""
        return f"{seconds / self.speed:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. `section` is its heading in the runbook. In a test, the series in `firing` raise it by the time
    `after`. They have one value for each minute."""

    name: str
    expression: str
    hold: str  # the `for` of the rule
    severity: str  # page (wakes the SRE), ticket (waits for working hours) or info (needs no action)
    summary: str
    section: str
    firing: dict[str, str]
    after: str = "4h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A service level objective on a histogram: the share of observations below a bucket."""

    name: str
    metric: str
    where: str  # label matchers, each followed by a comma
    bucket: str
    allowed: float  # the share of errors that the objective allows
    summary: str
    section: str


SETTLED = Objective(
    name="settle",
    metric="assure_agent_request_duration_seconds",
    where='mode="upload",',
    bucket="600.0",
    allowed=0.01,
    summary="Too many uploads take longer than 10 minutes.",
    section="slo-settled",
)
DELETED = Objective(
    name="deletion",
    metric="assure_agent_deletion_delay_seconds",
    where="",
    bucket="900.0",
    allowed=0.001,
    summary="Too many dossiers are deleted more than 15 minutes after their time.",
    section="slo-deleted",
)
OBJECTIVES = (SETTLED, DELETED)
_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
_BURNS = (
    ("Fast", 14.4, "1h", "5m", "2m", "page"),
    ("Steady", 6.0, "6h", "30m", "15m", "page"),
    ("Slow", 1.0, "3d", "6h", "1h", "ticket"),
)


def ratio(objective: Objective, window: str) -> str:
    """The name of the recorded share of errors in a window."""
    return f"assure_agent:{objective.name}_errors:ratio_rate{window}"


def recordings(times: Times) -> list[dict[str, str]]:
    """The share of errors of each objective in each window. It is absent while there are no observations."""
    return [
        {
            "record": ratio(objective, window),
            "expr": (
                f"1 - sum by (instance) (rate({objective.metric}_bucket"
                f'{{{objective.where}le="{objective.bucket}"}}[{times(window)}]))'
                f" / (sum by (instance) (rate({objective.metric}_count"
                f"{_braced(objective.where.rstrip(','))}[{times(window)}])) > 0)"
            ),
        }
        for objective in OBJECTIVES
        for window in _WINDOWS
    ]


def _braced(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""


def _burning(objective: Objective) -> list[Alert]:
    where = f'{objective.where}instance="agent:9464"'
    bucket = f'{objective.metric}_bucket{{{where},le="{objective.bucket}"}}'
    count = f"{objective.metric}_count{{{where}}}"
    return [
        Alert(
            name=f"AssureAgent{objective.name.capitalize()}Objective{kind}Burn",
            expression=f"{ratio(objective, long)} > {rate * objective.allowed:g}"
            f" and {ratio(objective, short)} > {rate * objective.allowed:g}",
            hold=hold,
            severity=severity,
            summary=objective.summary,
            section=objective.section,
            firing={bucket: "0+5x240", count: "0+10x240"},  # half of the observations are late
        )
        for kind, rate, long, short, hold, severity in _BURNS
    ]


def alerts(times: Times) -> list[Alert]:
    """All alerts."""
    at = 'instance="agent:9464"'
    return [
        Alert(
            name="AssureAgentDown",
            expression='up{job="assure-agent"} == 0',
            hold="2m",
            severity="page",
            summary="Prometheus cannot reach the agent. While it is down, no dossier is created or deleted.",
            section="down",
            firing={f'up{{job="assure-agent",{at}}}': "0x240"},
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
            name="AssureAgentStuck",
            expression=f"assure_agent_oldest_unprogressed_seconds > {times.seconds(1800)}",
            hold="5m",
            severity="page",
            summary="An active request made no progress for more than half an hour.",
            section="stuck",
            firing={f"assure_agent_oldest_unprogressed_seconds{{{at}}}": "0+60x240"},
        ),
        Alert(
            name="AssureAgentHeld",
            expression="sum by (instance) (assure_agent_held) > 0",
            hold="15m",
            severity="ticket",
            summary="A request waits for a decision of the operator.",
            section="held",
            firing={f'assure_agent_held{{{at},reason="unexpected-answer"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentOrphanUndeleted",
            expression="assure_agent_orphans_undeleted > 0",
            hold="30m",
            severity="ticket",
            summary="A dossier without a request is at Assure, and the agent could not delete it for half an hour.",
            section="orphans",
            firing={f"assure_agent_orphans_undeleted{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentPossibleOrphan",
            expression="assure_agent_possible_orphans - assure_agent_orphans_undeleted > 0",
            hold="2h",
            severity="info",
            summary="A dossier without a request may exist at Assure. The agent searches for it. No action is needed.",
            section="orphans",
            firing={
                f"assure_agent_possible_orphans{{{at}}}": "1x240",
                f"assure_agent_orphans_undeleted{{{at}}}": "0x240",
            },
        ),
        Alert(
            name="AssureAgentDeletionsOverdue",
            expression="assure_agent_deletions_overdue > 0",
            hold="5m",
            severity="page",
            summary="The deletion of a dossier has been overdue for more than 15 minutes.",
            section="deletions-overdue",
            firing={f"assure_agent_deletions_overdue{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentImagesUndeleted",
            expression="assure_agent_images_undeleted > 0",
            hold="15m",
            severity="ticket",
            summary="The agent cannot delete image files of finished requests.",
            section="images-undeleted",
            firing={f"assure_agent_images_undeleted{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentClaimsOverdue",
            expression="assure_agent_claims_overdue > 0",
            hold="5m",
            severity="ticket",
            summary="The erasure of claims has been overdue for more than 15 minutes.",
            section="claims-overdue",
            firing={f"assure_agent_claims_overdue{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentPaused",
            expression="assure_agent_paused > 0",
            hold="1h",
            severity="ticket",
            summary="The agent has been paused for an hour. It starts no new work until `assure-agent resume`.",
            section="paused",
            firing={f"assure_agent_paused{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentLogLinesLost",
            expression=f"increase(assure_agent_log_lines_lost_total[{times('15m')}]) > 0",
            hold="1m",
            severity="ticket",
            summary="The agent cannot write log lines. Requests continue.",
            section="log-lines-lost",
            firing={f"assure_agent_log_lines_lost_total{{{at}}}": "0+1x240"},
        ),
        Alert(
            name="AssureAgentCircuitOpen",
            expression="assure_agent_circuit_open > 0",
            hold="5m",
            severity="page",
            summary="The circuit breaker is open: too many calls to Assure failed, and the agent sends only probes.",
            section="circuit-open",
            firing={f"assure_agent_circuit_open{{{at}}}": "1x240"},
        ),
        Alert(
            name="AssureAgentCredentials",
            expression='max by (instance) (assure_agent_endpoint_trouble{cause="credentials"}) > 0',
            hold="1m",
            severity="page",
            summary="Assure refuses the agent's credentials or permissions. No request makes progress.",
            section="credentials",
            firing={f'assure_agent_endpoint_trouble{{{at},endpoint="token",cause="credentials"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentClockWrong",
            expression="abs(assure_agent_clock_skew_seconds) > 60",
            hold="5m",
            severity="ticket",
            summary="The host's clock differs from Assure's by more than a minute.",
            section="clock",
            firing={f"assure_agent_clock_skew_seconds{{{at}}}": "90000x240"},
        ),
        Alert(
            name="AssureAgentClockUnconfirmed",
            expression="assure_agent_clock_confirmed == 0",
            hold="10m",
            severity="page",
            summary="Assure has not confirmed the agent's time, so requests wait and nothing expires.",
            section="clock",
            firing={f"assure_agent_clock_confirmed{{{at}}}": "0x240"},
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
            firing={f'assure_agent_api_requests_total{{{at},operation="read_process",result="busy"}}': "0+60x240"},
        ),
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
                f"assure_agent_last_event_timestamp_seconds{{{at}}}": "1x240",
                f'assure_agent_requests{{{at},phase="result",state="waiting"}}': "5x240",
                f'assure_agent_outcomes_total{{{at},outcome="accepted"}}': "0+1x240",
            },
        ),
        Alert(
            name="AssureAgentSourceStale",
            expression=f"time() - assure_agent_source_last_sync_timestamp_seconds > {times.seconds(300)}",
            hold="1m",
            severity="page",
            summary="The agent could not scan the folder of request files for more than 5 minutes.",
            section="source-stale",
            firing={f"assure_agent_source_last_sync_timestamp_seconds{{{at}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentFilesRefused",
            expression='assure_agent_source_files{state="refused"} > 0',
            hold="15m",
            severity="ticket",
            summary="The agent refuses documents in the folder. Other requests continue.",
            section="source-stale",
            firing={f'assure_agent_source_files{{{at},state="refused"}}': "1x240"},
        ),
        Alert(
            name="AssureAgentWithdrawalsWaiting",
            expression='assure_agent_source_files{state="waiting_withdrawal"} > 0',
            hold="5m",
            severity="page",
            summary="Many files disappeared at once. The withdrawals wait for `assure-agent approve`.",
            section="withdrawals-waiting",
            firing={f'assure_agent_source_files{{{at},state="waiting_withdrawal"}}': "7x240"},
        ),
        Alert(
            name="AssureAgentBackupOld",
            expression="time() - (assure_agent_backup_timestamp_seconds > 0)"
            f" > clamp_min(2 * assure_agent_backup_interval_seconds, {times.seconds(2 * 86400)})",
            hold="5m",
            severity="ticket",
            summary="The last backup is older than two days, and older than twice the interval.",
            section="backup-old",
            firing={
                f"assure_agent_backup_timestamp_seconds{{{at}}}": "1x3000",
                f"assure_agent_backup_interval_seconds{{{at}}}": "86400x3000",
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
                f"assure_agent_backup_timestamp_seconds{{{at}}}": "0x240",
                f"assure_agent_backup_interval_seconds{{{at}}}": "86400x240",
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
            firing={f"assure_agent_start_budget_remaining{{{at}}}": "0x240"},
        ),
        Alert(
            name="AssureAgentDeliveriesPending",
            expression=f"min_over_time(assure_agent_deliveries_pending[{times('30m')}]) > 0",
            hold="5m",
            severity="ticket",
            summary="A sink accepted no notifications for half an hour. The agent keeps them.",
            section="deliveries",
            firing={f"assure_agent_deliveries_pending{{{at}}}": "3x240"},
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
            firing={f'assure_agent_connections_dropped_total{{{at},listener="listen",reason="crowded"}}': "0+60x240"},
        ),
        *(alert for objective in OBJECTIVES for alert in _burning(objective)),
    ]


def document(times: Times, runbook: str) -> dict[str, Any]:
    """The rules as Prometheus reads them."""
    return {
        "groups": [
            {"name": "assure-agent-objectives", "interval": times("30s"), "rules": recordings(times)},
            {
                "name": "assure-agent-alerts",
                "interval": times("30s"),
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expression,
                        "for": times(alert.hold),
                        "labels": {"severity": alert.severity},
                        "annotations": annotations(alert, runbook),
                    }
                    for alert in alerts(times)
                ],
            },
        ]
    }


def annotations(alert: Alert, runbook: str) -> dict[str, str]:
    """The annotations that Alertmanager sends to the SRE."""
    return {"summary": alert.summary, "runbook_url": f"{runbook}#{alert.section}"}


_WELL = {
    'up{job="assure-agent",instance="agent:9464"}': "1x240",
    'assure_agent_oldest_unprogressed_seconds{instance="agent:9464"}': "30x240",
    'assure_agent_held{instance="agent:9464",reason="unexpected-answer"}': "0x240",
    'assure_agent_possible_orphans{instance="agent:9464"}': "0x240",
    'assure_agent_orphans_undeleted{instance="agent:9464"}': "0x240",
    'assure_agent_deletions_overdue{instance="agent:9464"}': "0x240",
    'assure_agent_images_undeleted{instance="agent:9464"}': "0x240",
    'assure_agent_claims_overdue{instance="agent:9464"}': "0x240",
    'assure_agent_paused{instance="agent:9464"}': "0x240",
    'assure_agent_log_lines_lost_total{instance="agent:9464"}': "7x240",
    'assure_agent_circuit_open{instance="agent:9464"}': "0x240",
    'assure_agent_endpoint_trouble{instance="agent:9464",endpoint="token",cause="credentials"}': "0x240",
    'assure_agent_clock_skew_seconds{instance="agent:9464"}': "-2x240",
    'assure_agent_clock_confirmed{instance="agent:9464"}': "1x240",
    'assure_agent_api_requests_total{instance="agent:9464",operation="read_process",result="done"}': "0+60x240",
    'assure_agent_api_requests_total{instance="agent:9464",operation="read_process",result="busy"}': "0+1x240",
    'assure_agent_last_event_timestamp_seconds{instance="agent:9464"}': "0+60x240",
    'assure_agent_requests{instance="agent:9464",phase="result",state="waiting"}': "5x240",
    'assure_agent_outcomes_total{instance="agent:9464",outcome="accepted"}': "0+1x240",
    'assure_agent_source_last_sync_timestamp_seconds{instance="agent:9464"}': "0+60x240",
    'assure_agent_source_files{instance="agent:9464",state="refused"}': "0x240",
    'assure_agent_source_files{instance="agent:9464",state="waiting_withdrawal"}': "0x240",
    'assure_agent_backup_timestamp_seconds{instance="agent:9464"}': "60+60x240",
    'assure_agent_backup_interval_seconds{instance="agent:9464"}': "86400x240",
    'assure_agent_start_budget_remaining{instance="agent:9464"}': "80x240",
    'assure_agent_deliveries_pending{instance="agent:9464"}': "0x240",
    'assure_agent_request_duration_seconds_bucket{instance="agent:9464",mode="upload",le="600.0"}': "0+1000x240",
    'assure_agent_request_duration_seconds_count{instance="agent:9464",mode="upload"}': "0+1000x240",
    'assure_agent_deletion_delay_seconds_bucket{instance="agent:9464",le="900.0"}': "0+1000x240",
    'assure_agent_deletion_delay_seconds_count{instance="agent:9464"}': "0+1000x240",
}  # fmt: skip


# Harmless states: series, and the alerts that they must not raise.
_NO_ALERT = (
    (
        "a possible orphan needs no action",
        {
            'assure_agent_possible_orphans{instance="agent:9464"}': "3x240",
            'assure_agent_orphans_undeleted{instance="agent:9464"}': "0x240",
        },
        ("AssureAgentOrphanUndeleted",),
    ),
    (
        "an orphan that the next sweep deletes raises no alert",
        {
            'assure_agent_possible_orphans{instance="agent:9464"}': "1x120 0x120",
            'assure_agent_orphans_undeleted{instance="agent:9464"}': "0x118 1 1 0x120",
        },
        ("AssureAgentOrphanUndeleted", "AssureAgentPossibleOrphan"),
    ),
    (
        "no alert on backups while backups are off",
        {
            'assure_agent_backup_timestamp_seconds{instance="agent:9464"}': "0x240",
            'assure_agent_backup_interval_seconds{instance="agent:9464"}': "0x240",
        },
        ("AssureAgentBackupMissing", "AssureAgentBackupOld"),
    ),
)


def tests(runbook: str) -> dict[str, Any]:
    """The tests for promtool. Each alert fires in its failure, and no alert fires in normal operation."""
    known = alerts(Times())
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "tests": [
            _test("all is well", _WELL, [_expected(alert, []) for alert in known]),
            *(
                _test(
                    f"{alert.name} fires",
                    alert.firing,
                    [
                        _expected(
                            alert, [{"exp_labels": _labels(alert), "exp_annotations": annotations(alert, runbook)}]
                        )
                    ],
                )
                for alert in known
            ),
            *(
                _test(name, series, [_expected(alert, []) for alert in known if alert.name in silent])
                for name, series, silent in _NO_ALERT
            ),
        ],
    }


def _test(name: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    given = [{"series": key, "values": values} for key, values in series.items()]
    return {"name": name, "interval": "1m", "input_series": given, "alert_rule_test": expected}


def _expected(alert: Alert, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": alert.after if found else "4h", "alertname": alert.name, "exp_alerts": found}


def _labels(alert: Alert) -> dict[str, str]:
    """The labels of the alert that the first series of `firing` raises."""
    labels = {"severity": alert.severity, "instance": "agent:9464"}
    kept = alert.expression.split()[0].split("{")[0]
    if kept == "absent(up":
        return {"severity": alert.severity, "job": "assure-agent"}
    if kept == "up":
        labels["job"] = "assure-agent"
    if alert.name == "AssureAgentListenerCrowded":
        labels["listener"] = "listen"
    if kept == "assure_agent_source_files":
        labels["state"] = "refused" if "refused" in alert.expression else "waiting_withdrawal"
    return labels
