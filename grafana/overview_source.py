"""The row of the overview on a git source."""

from grafana.panels import Panel, Query, Row
from grafana.queries import NOTHING, ONE, WINDOW, quantiles

GIT_SOURCE = Row(
    title="Git source",
    panels=(
        Panel(
            title="Time since the last fetch",
            description="Time since the last successful fetch. Without SOURCE_URL it is 0.",
            unit="s",
            queries=(
                Query(
                    "time() - max by (instance) "
                    f"(assure_agent_source_fetched_timestamp_seconds{{{ONE}}} > 0) or vector(0)",
                    "{{instance}}",
                ),
            ),
            section="fetch-failing",
            width=6,
        ),
        Panel(
            title="Fetches by result",
            description="Fetches from the git source: ok, or the cause of the failure.",
            unit="cps",
            queries=(
                Query(
                    f"sum by (result) (rate(assure_agent_source_fetches_total{{{ONE}}}{WINDOW})) > 0 or vector(0)",
                    "{{result}}",
                ),
            ),
            section="fetch-failing",
            width=6,
            stacked=True,
        ),
        Panel(
            title="Duration of a fetch, p50 p90 p99",
            description="A fetch with nothing new only asks for the head of the branch.",
            unit="s",
            queries=quantiles("assure_agent_source_fetch_duration_seconds", ONE),
            empty=NOTHING,
            section="fetch-failing",
            width=6,
        ),
        Panel(
            title="Hooks by result",
            description="Hooks that reported a push. Forged, oversized and unreadable ones are refused.",
            unit="cps",
            queries=(Query(f"sum by (result) (rate(assure_agent_source_hooks_total{{{ONE}}}{WINDOW}))", "{{result}}"),),
            section="hooks",
            width=6,
            stacked=True,
        ),
        Panel(
            title="Age of the revision",
            description="Time since the commit that the agent acts on. It grows until the next push.",
            unit="s",
            queries=(
                Query(
                    "time() - max by (instance) "
                    f"(assure_agent_source_revision_timestamp_seconds{{{ONE}}} > 0) or vector(0)",
                    "{{instance}}",
                ),
            ),
            section="revision-refused",
        ),
        Panel(
            title="Refused revision",
            description="1 while the agent does not act on the newest revision, by reason.",
            unit="short",
            queries=(
                Query(
                    f"max by (reason) (assure_agent_source_revision_refused{{{ONE}}}) > 0 or vector(0)", "{{reason}}"
                ),
            ),
            section="revision-refused",
        ),
    ),
)
