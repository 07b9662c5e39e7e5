"""Queries, variables and thresholds that both dashboards use."""

from grafana.panels import Query, variable

AGENT = variable("agent", "Agent", "label_values(assure_agent_build_info, instance)")

ONE = 'instance=~"$agent"'
WINDOW = "[$__rate_interval]"
GOOD_IS_ZERO = ((None, "green"), (1.0, "red"))
CIRCUIT = (("0", "closed", "green"), ("1", "open", "red"))
NO_LIMIT = (("Infinity", "no limit", "green"),)  # as Grafana writes the +Inf of Prometheus
NOTHING = "nothing in this time"  # of rates and histograms without an observation


def quantile(share: float, metric: str, by: str, where: str) -> str:
    """PromQL of a quantile of a histogram. `by` names the labels to keep, if any."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({metric}_bucket{{{where}}}{WINDOW})))"


def quantiles(metric: str, where: str) -> tuple[Query, ...]:
    """p50, p90 and p99 of a histogram."""
    return tuple(Query(quantile(share, metric, "", where), f"p{share * 100:.0f}") for share in (0.5, 0.9, 0.99))
