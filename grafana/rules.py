"""The rules file of Prometheus: recording rules and alerts. One `Times` scales every duration."""

from typing import Any

from grafana.alerts import alerts
from grafana.objectives import Alert, Times, recordings


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
    """The annotations that Alertmanager sends to the SRE. Only the figure of one replica has an instance."""
    where = "{{ $labels.instance }}: " if alert.per_replica else ""
    return {
        "summary": alert.summary,
        "description": where + alert.finding,
        "runbook_url": f"{runbook}#{alert.section}",
    }
