"""All alerting rules, by topic."""

from grafana.alerts_agent import operation_alerts, process_alerts, request_alerts
from grafana.alerts_assure import assure_alerts, event_alerts, personal_data_alerts
from grafana.alerts_replicas import replica_alerts
from grafana.alerts_source import git_source_alerts
from grafana.objectives import OBJECTIVES, Alert, Times, burn_alerts


def alerts(times: Times) -> list[Alert]:
    """All alerts. The rules file keeps their order."""
    return [
        *process_alerts(times),
        *request_alerts(times),
        *git_source_alerts(times),
        *personal_data_alerts(),
        *assure_alerts(times),
        *event_alerts(times),
        *operation_alerts(times),
        *replica_alerts(times),
        *(alert for objective in OBJECTIVES for alert in burn_alerts(objective)),
    ]
