"""Objectives with their recording rules and burn-rate alerts, and the types of rules.

Burn rates and windows follow the Site Reliability Workbook, chapter 5. A burn of 14.4 times over 1 h and 5 min raises a
page, because it uses 2 % of a month's budget in an hour. So does a burn of 6 times over 6 h and 30 min. A burn of 1
over 3 d and 6 h raises a ticket.
"""

from dataclasses import dataclass

ALL = "without (instance, pod)"  # replicas of one store show the same figures of it: take one, never their sum
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
    """One alert. `finding` is a sentence with the value, as a template of Prometheus. `section` is its heading in the
    runbook. In a test, the series in `firing` raise it by the time `after`, and the value is rendered as `reading`.
    The series have one value for each minute."""

    name: str
    expression: str
    hold: str  # the `for` of the rule
    severity: str  # page (wakes the SRE), ticket (waits for working hours) or info (needs no action)
    summary: str
    finding: str
    section: str
    firing: dict[str, str]
    after: str = "4h"
    reading: str = "1"

    @property
    def per_replica(self) -> bool:
        """False if the expression has one value for all replicas of a store, which has no instance then."""
        shared = (ALL, "by (job)", "absent(", "assure_agent:")
        return self.expression.startswith("up{") or not any(part in self.expression for part in shared)


def once(metric: str, choose: str = "max") -> str:
    """PromQL of a figure of the store, which each replica shows."""
    return f"{choose} {ALL} ({metric})"


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
    """The share of errors of each objective in each window, of all replicas. Absent without an observation."""
    return [
        {
            "record": ratio(objective, window),
            "expr": (
                f"1 - sum by (job) (rate({objective.metric}_bucket"
                f'{{{objective.where}le="{objective.bucket}"}}[{times(window)}]))'
                f" / (sum by (job) (rate({objective.metric}_count"
                f"{_braced(objective.where.rstrip(','))}[{times(window)}])) > 0)"
            ),
        }
        for objective in OBJECTIVES
        for window in _WINDOWS
    ]


def _braced(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""


def burn_alerts(objective: Objective) -> list[Alert]:
    """The alerts of one objective, from fast to slow burn."""
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
            finding=f"{{{{ $value | humanizePercentage }}}} of the last {long} missed the target; "
            f"the objective allows {objective.allowed:.1%}.",
            reading="50%",
            section=objective.section,
            firing={bucket: "0+5x240", count: "0+10x240"},  # half of the observations are late
        )
        for kind, rate, long, short, hold, severity in _BURNS
    ]
