"""Privacy: the personal data at Assure, and its deletion in time."""

from grafana.panels import Dashboard, Panel, Query, Row
from grafana.queries import AGENT, GOOD_IS_ZERO, NOTHING, ONE, quantiles

_Steps = tuple[tuple[float | None, str], ...]
_MAYBE: _Steps = ((None, "green"), (1.0, "yellow"))
_AGE: _Steps = ((None, "green"), (86400.0, "orange"), (7 * 86400.0, "red"))


def _single(
    title: str, description: str, metric: str, section: str, steps: _Steps = GOOD_IS_ZERO, unit: str = "short"
) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(f"max(assure_agent_{metric}{{{ONE}}})", title),),
        section=section,
        kind="stat",
        width=5,
        height=5,
        steps=steps,
    )


_NOW = Row(
    title="Now",
    panels=(
        _single(
            "Overdue deletions",
            "Dossiers whose deletion was due more than 15 minutes ago and is not confirmed.",
            "deletions_overdue",
            "deletions-overdue",
        ),
        _single(
            "Undeleted orphans",
            "Dossiers without a request that the agent found at Assure and has not deleted yet.",
            "orphans_undeleted",
            "orphans",
        ),
        _single(
            "Possible orphans",
            "Dossiers that may exist at Assure because the answer to their creation was lost. The agent searches for "
            "them. No action is needed.",
            "possible_orphans",
            "orphans",
            _MAYBE,
        ),
        _single(
            "Age of the oldest open dossier",
            "Time since the admission of the request with the oldest open dossier.",
            "oldest_open_dossier_seconds",
            "open-dossiers",
            _AGE,
            "s",
        ),
        Panel(
            title="Deleted in time",
            description="The share of dossiers deleted within 15 minutes after they were due, for the last hour. "
            "The objective is 99.9 %.",
            unit="percentunit",
            queries=(Query("1 - max(assure_agent:deletion_errors:ratio_rate1h)", "in time"),),
            empty=NOTHING,
            section="slo-deleted",
            kind="stat",
            width=4,
            height=5,
            steps=((None, "red"), (0.999, "green")),
        ),
    ),
)

_TIME = Row(
    title="Over time",
    panels=(
        Panel(
            title="Open dossiers",
            description="Dossiers of this agent that are at Assure.",
            unit="short",
            queries=(Query(f"max without (instance, pod) (assure_agent_open_dossiers{{{ONE}}})", "all"),),
            section="open-dossiers",
        ),
        Panel(
            title="Age of the oldest open dossier",
            description="It rises while retention, an unfinished capture or a hold keeps a dossier.",
            unit="s",
            queries=(Query(f"max(assure_agent_oldest_open_dossier_seconds{{{ONE}}})", "all"),),
            section="open-dossiers",
        ),
        Panel(
            title="Deletion delay, p50 p90 p99",
            description="Time from the due deletion to its confirmation by a read that Assure answers with 404.",
            unit="s",
            queries=quantiles("assure_agent_deletion_delay_seconds", ONE),
            empty=NOTHING,
            section="deletions-overdue",
            steps=((None, "green"), (900.0, "red")),
        ),
        Panel(
            title="Overdue deletions and orphans",
            description="Overdue deletions and undeleted orphans should be zero, and raise an alert. A possible "
            "orphan may stay for weeks in an account with 100 open dossiers.",
            unit="short",
            queries=(
                Query(f"sum(max without (instance, pod) (assure_agent_deletions_overdue{{{ONE}}}))", "overdue"),
                Query(
                    f"sum(max without (instance, pod) (assure_agent_orphans_undeleted{{{ONE}}}))", "undeleted orphans"
                ),
                Query(f"sum(max without (instance, pod) (assure_agent_possible_orphans{{{ONE}}}))", "possible orphans"),
            ),
            section="orphans",
            steps=GOOD_IS_ZERO,
        ),
        Panel(
            title="Deletion calls",
            description="Delete calls to Assure, by answer. The agent retries failed deletions without end.",
            unit="reqps",
            queries=(
                Query(
                    "sum by (result) "
                    f'(rate(assure_agent_api_requests_total{{{ONE},operation="delete_dossier"}}[$__rate_interval]))',
                    "{{result}}",
                ),
            ),
            empty=NOTHING,
            section="deletions-overdue",
            width=24,
            stacked=True,
        ),
    ),
)

PRIVACY = Dashboard(
    uid="assure-agent-privacy",
    title="Assure Agent / Privacy",
    description="The personal data that is still at Assure, and its deletion in time.",
    variables=(AGENT,),
    rows=(_NOW, _TIME),
)
