"""The tests of the rules for promtool."""

import re
from typing import Any

from grafana.alerts import alerts
from grafana.objectives import Alert, Times
from grafana.rules import annotations

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
    'assure_agent_source_scan_complete{instance="agent:9464"}': "1x240",
    'assure_agent_source_interval_seconds{instance="agent:9464"}': "30x240",
    'assure_agent_source_fetched_timestamp_seconds{instance="agent:9464"}': "0+60x240",
    'assure_agent_source_fetch_failing{instance="agent:9464",cause="dns"}': "0x240",
    'assure_agent_source_revision_refused{instance="agent:9464",reason="unsigned"}': "0x240",
    'assure_agent_backup_timestamp_seconds{instance="agent:9464"}': "60+60x240",
    'assure_agent_backup_interval_seconds{instance="agent:9464"}': "86400x240",
    'assure_agent_start_budget_remaining{instance="agent:9464"}': "80x240",
    'assure_agent_deliveries_pending{instance="agent:9464"}': "0x240",
    'assure_agent_database_away{instance="agent:9464"}': "0x240",
    'assure_agent_fenced_total{instance="agent:9464"}': "2x240",
    'assure_agent_source_lagging{instance="agent:9464"}': "0x240",
    'assure_agent_database_behind{instance="agent:9464"}': "0x240",
    'assure_agent_oldest_snapshot_seconds{instance="agent:9464"}': "2x240",
    'assure_agent_store_free_bytes{instance="agent:9464"}': "1073741824x240",
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
    (
        "a database has no free bytes that the agent knows, and no backups by the agent",
        {
            'assure_agent_store_free_bytes{instance="agent:9464"}': " ".join(["NaN"] * 240),
            'assure_agent_store_bytes{instance="agent:9464"}': "8589934592x240",
            'assure_agent_backup_timestamp_seconds{instance="agent:9464"}': "0x240",
            'assure_agent_backup_interval_seconds{instance="agent:9464"}': "0x240",
        },
        ("AssureAgentStoreSpaceLow", "AssureAgentBackupMissing", "AssureAgentBackupOld"),
    ),
    (
        "a database that went away a moment ago raises no alert",
        {'assure_agent_database_away{instance="agent:9464"}': "0x239 1"},
        ("AssureAgentDatabaseAway",),
    ),
    (
        "no alert on fetches without SOURCE_URL",
        {
            'assure_agent_source_interval_seconds{instance="agent:9464"}': "0x240",
            'assure_agent_source_fetched_timestamp_seconds{instance="agent:9464"}': "0x240",
            'assure_agent_source_fetch_failing{instance="agent:9464",cause="dns"}': "0x240",
        },
        ("AssureAgentFetchFailing",),
    ),
    (
        "a git source without a new revision needs no scan",
        {
            'assure_agent_source_interval_seconds{instance="agent:9464"}': "30x240",
            'assure_agent_source_scan_complete{instance="agent:9464"}': "1x240",
            'assure_agent_source_last_sync_timestamp_seconds{instance="agent:9464"}': "0x240",
        },
        ("AssureAgentSourceStale",),
    ),
    (
        "a fetch may be as old as ten intervals",
        {
            'assure_agent_source_interval_seconds{instance="agent:9464"}': "1800x240",
            'assure_agent_source_fetched_timestamp_seconds{instance="agent:9464"}': "0x240",
            'assure_agent_source_fetch_failing{instance="agent:9464",cause="dns"}': "1x240",
        },
        ("AssureAgentFetchFailing",),
    ),
)


# Failures that raise an alert with other labels or values than its own test: series, the alert, its labels and value.
_ALSO: tuple[tuple[str, dict[str, str], str, dict[str, str], str], ...] = (
    (
        "a fetch that never ends raises an alert",
        {
            'assure_agent_source_interval_seconds{instance="agent:9464"}': "30x240",
            'assure_agent_source_fetched_timestamp_seconds{instance="agent:9464"}': "100x240",
            'assure_agent_source_fetch_failing{instance="agent:9464",cause="dns"}': "0x240",
        },
        "AssureAgentFetchFailing",
        {"cause": "unfinished"},
        "3h 58m 20s",
    ),
    (
        "a git source that cannot be scanned raises an alert",
        {
            'assure_agent_source_interval_seconds{instance="agent:9464"}': "30x240",
            'assure_agent_source_scan_complete{instance="agent:9464"}': "0x240",
            'assure_agent_source_last_sync_timestamp_seconds{instance="agent:9464"}': "0x240",
        },
        "AssureAgentSourceStale",
        {},
        "4h 0m 0s",
    ),
)


_THREE = ("agent:9464", "two:9464", "three:9464")
_UP = 'up{job="assure-agent",instance="agent:9464"}'
# Three replicas of one store: what differs from the normal operation of each, the alert, its value, and how often.
_OF_THREE: tuple[tuple[str, dict[str, str], str, str, int], ...] = (
    (
        "three replicas show the same held request, and one alert fires",
        dict.fromkeys([f'assure_agent_held{{instance="{one}",reason="unexpected-answer"}}' for one in _THREE], "1x240"),
        "AssureAgentHeld",
        "1",
        1,
    ),
    (
        "of three replicas one is down",
        {_UP: "0x240"},
        "AssureAgentReplicaDown",
        "0",
        1,
    ),
    (
        "three replicas are down",
        dict.fromkeys([_UP.replace("agent:9464", one) for one in _THREE], "0x240"),
        "AssureAgentDown",
        "0",
        1,
    ),
    (
        "the former holder of the source shows an old scan, and the others a new one",
        {'assure_agent_source_last_sync_timestamp_seconds{instance="agent:9464"}': "0x240"},
        "AssureAgentSourceStale",
        "",
        0,
    ),
    (
        "one replica of three cannot reach the database",
        {'assure_agent_database_away{instance="agent:9464"}': "1x240"},
        "AssureAgentDatabaseAway",
        "",
        0,
    ),
    (
        "one replica of three was fenced",
        {'assure_agent_fenced_total{instance="agent:9464"}': "0+1x240"},
        "AssureAgentFenced",
        "60",
        1,
    ),
)


def _of_three(runbook: str, known: list[Alert]) -> list[dict[str, Any]]:
    """The tests with three replicas. No other alert than the named one fires."""
    well = {key.replace("agent:9464", one): values for one in _THREE for key, values in _WELL.items()}
    found = [_test("three replicas are well", well, [_expected(alert, []) for alert in known])]
    for name, series, fired, reading, times in _OF_THREE:
        expected = [
            _fires(alert, runbook, _labels(alert), reading) if alert.name == fired and times else _expected(alert, [])
            for alert in known
        ]
        found.append(_test(name, well | series, [one | {"eval_time": "4h"} for one in expected]))
    return found


def tests(runbook: str) -> dict[str, Any]:
    """The tests for promtool. Each alert fires in its failure, and no alert fires in normal operation."""
    known = alerts(Times())
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "tests": [
            _test("all is well", _WELL, [_expected(alert, []) for alert in known]),
            *(
                _test(f"{alert.name} fires", alert.firing, [_fires(alert, runbook, _labels(alert), alert.reading)])
                for alert in known
            ),
            *(
                _test(name, series, [_fires(alert, runbook, _labels(alert) | labels, reading)])
                for name, series, fired, labels, reading in _ALSO
                for alert in known
                if alert.name == fired
            ),
            *(
                _test(name, series, [_expected(alert, []) for alert in known if alert.name in silent])
                for name, series, silent in _NO_ALERT
            ),
            *_of_three(runbook, known),
        ],
    }


def _test(name: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    given = [{"series": key, "values": values} for key, values in series.items()]
    return {"name": name, "interval": "1m", "input_series": given, "alert_rule_test": expected}


def _expected(alert: Alert, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": alert.after if found else "4h", "alertname": alert.name, "exp_alerts": found}


def _fires(alert: Alert, runbook: str, labels: dict[str, str], reading: str) -> dict[str, Any]:
    """The alert fires with these labels, and with the labels and the value in its annotations."""

    def value(match: re.Match[str]) -> str:
        return labels[match[2]] if match[2] else reading

    rendered = {
        name: re.sub(r"\{\{ \$(value|labels\.(\w+)).*? \}\}", value, text)
        for name, text in annotations(alert, runbook).items()
    }
    return _expected(alert, [{"exp_labels": labels, "exp_annotations": rendered}])


def _labels(alert: Alert) -> dict[str, str]:
    """The labels of the alert that the first series of `firing` raises."""
    labels = {"severity": alert.severity} | ({"instance": "agent:9464"} if alert.per_replica else {})
    if "up{" in alert.expression:
        labels["job"] = "assure-agent"
    if alert.name == "AssureAgentListenerCrowded":
        labels["listener"] = "listen"
    if "assure_agent_source_files" in alert.expression:
        labels["state"] = "refused" if "refused" in alert.expression else "waiting_withdrawal"
    if alert.name == "AssureAgentFetchFailing":
        labels["cause"] = "dns"
    if alert.name == "AssureAgentRevisionRefused":
        labels["reason"] = "not-descended"
    return labels
