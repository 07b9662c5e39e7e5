"""The alerts on a git source."""

from grafana.alerts_agent import AT
from grafana.objectives import Alert, Times, once


def git_source_alerts(times: Times) -> list[Alert]:
    """Fetches and revisions. None of them fires without SOURCE_URL."""
    stale = (
        "time() - assure_agent_source_fetched_timestamp_seconds"
        f" > clamp_min({times.seconds(10)} * assure_agent_source_interval_seconds, {times.seconds(300)})"
        " and assure_agent_source_interval_seconds > 0"
    )
    return [
        Alert(
            name="AssureAgentFetchFailing",
            expression=f"({stale}) * on (instance) group_right () (assure_agent_source_fetch_failing > 0)"
            f' or on (instance) label_replace({stale}, "cause", "unfinished", "", "")',
            hold="1m",
            severity="page",
            summary="The agent could not fetch its git source for more than 5 minutes, and more than 10 intervals.",
            finding="the last fetch was {{ $value | humanizeDuration }} ago; the cause is {{ $labels.cause }}.",
            reading="3h 58m 20s",
            section="fetch-failing",
            firing={
                f'assure_agent_source_fetch_failing{{{AT},cause="dns"}}': "1x240",
                f'assure_agent_source_fetch_failing{{{AT},cause="tls"}}': "0x240",
                f"assure_agent_source_fetched_timestamp_seconds{{{AT}}}": "100x240",
                f"assure_agent_source_interval_seconds{{{AT}}}": "30x240",
            },
        ),
        Alert(
            name="AssureAgentRevisionRefused",
            expression=f"{once('assure_agent_source_revision_refused')} > 0",
            hold="5m",
            severity="ticket",
            summary="The agent does not act on the newest revision of its git source. Admitted requests continue.",
            finding="refused revisions: {{ $value }}; the reason is {{ $labels.reason }}.",
            section="revision-refused",
            firing={f'assure_agent_source_revision_refused{{{AT},reason="not-descended"}}': "1x240"},
        ),
    ]
