"""Dashboards and rules are current and complete. Their metrics and runbook sections exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import write_docs  # noqa: E402

from grafana.__main__ import RUNBOOK, files  # noqa: E402
from grafana.alerts import alerts  # noqa: E402
from grafana.objectives import Times, recordings  # noqa: E402
from grafana.overview import OVERVIEW  # noqa: E402
from grafana.panels import Dashboard, Panel  # noqa: E402
from grafana.privacy import PRIVACY  # noqa: E402

PROMETHEUS = ROOT / "grafana/prometheus"
PANELS = [*OVERVIEW.panels(), *PRIVACY.panels()]
SECTIONS = set(re.findall(r"^## (.+)$", (ROOT / "docs/operations/runbook.md").read_text(), re.MULTILINE))
EXPRESSIONS = [query.expression for panel in PANELS for query in panel.queries] + [
    *(rule["expr"] for rule in recordings(Times())),
    *(alert.expression for alert in alerts(Times())),
]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_every_generated_file_is_current(path: Path) -> None:
    assert path.read_text() == files()[path], "run `make docs`"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_has_a_description_and_a_runbook_section(panel: Panel) -> None:
    assert panel.description.endswith(".")
    assert panel.unit
    assert panel.section in SECTIONS


def test_every_alert_has_a_section_and_every_section_names_its_alerts() -> None:
    runbook = (ROOT / "docs/operations/runbook.md").read_text()
    for alert in alerts(Times()):
        assert alert.section in SECTIONS
        assert re.sub("(Fast|Steady|Slow)Burn$", "…Burn", alert.name) in runbook, alert.name


def test_every_link_to_the_runbook_is_absolute() -> None:
    """A relative link leads nowhere in Grafana and in a chat."""
    assert RUNBOOK.startswith("https://")
    rules = yaml.safe_load(files()[PROMETHEUS / "rules.yaml"])["groups"][1]["rules"]
    assert all(rule["annotations"]["runbook_url"].startswith(f"{RUNBOOK}#") for rule in rules)
    for board in (OVERVIEW, PRIVACY):
        (runbook,) = [one for one in board.model(RUNBOOK)["templating"]["list"] if one["name"] == "runbook"]
        assert runbook["query"] == RUNBOOK


def test_every_alert_has_a_description_with_its_value_and_that_of_a_replica_its_instance() -> None:
    per_replica = {alert.name: alert.per_replica for alert in alerts(Times())}
    for rule in yaml.safe_load(files()[PROMETHEUS / "rules.yaml"])["groups"][1]["rules"]:
        description = rule["annotations"]["description"]
        assert "{{ $value" in description, rule["alert"]
        assert ("{{ $labels.instance }}" in description) is per_replica[rule["alert"]]


def test_values_that_mean_something_else_are_words() -> None:
    """0 and 1 of a circuit breaker, and +Inf of a budget without a limit."""
    words = {panel.title: {value: word for value, word, _ in panel.words} for panel in PANELS}
    assert words["Circuit breaker"] == {"0": "closed", "1": "open"}
    assert words["Starts left today"] == {"Infinity": "no limit"}
    assert words["Up"] == {"0": "down", "1": "up"}
    assert all(panel.empty for panel in PANELS)


@pytest.mark.parametrize("board", [OVERVIEW, PRIVACY], ids=lambda board: board.title)
def test_a_restart_is_marked_at_the_start_of_the_process(board: Dashboard) -> None:
    (restarts,) = board.model(RUNBOOK)["annotations"]["list"]
    assert restarts["useValueForTime"] is True
    assert "process_start_time_seconds" in restarts["expr"]
    assert "process_start_time_seconds" in {name for name, *_ in write_docs.metric_list()}


def test_every_queried_metric_exists() -> None:
    known = {name for name, *_ in write_docs.metric_list()}
    for expression in EXPRESSIONS:
        for name in re.findall(r"assure_agent_[a-z_]+", expression):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in known, name


def test_provisioned_files_replace_no_existing_data_source() -> None:
    """A second default, or a second source of a usual name, keeps an existing Grafana from starting."""
    for path in (ROOT / "grafana/provisioning/datasources").iterdir():
        for source in yaml.safe_load(path.read_text())["datasources"]:
            assert source["isDefault"] is False
            assert source["name"] == source["uid"] == "assure-agent-prometheus"


def test_help_writes_no_files() -> None:
    before = {path: path.stat().st_mtime_ns for path in files()}
    done = subprocess.run([sys.executable, "-m", "grafana", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "--runbook" in done.stdout) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in files()} == before


def test_every_recorded_series_in_an_expression_exists() -> None:
    recorded = {rule["record"] for rule in recordings(Times())}
    for expression in EXPRESSIONS:
        assert set(re.findall(r"assure_agent:\w+:\w+", expression)) <= recorded


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_each_alert_fires_in_its_failure_and_none_otherwise() -> None:
    for check in ("check rules rules.yaml", "test rules rules_test.yaml", "check config prometheus.yaml"):
        command = ["promtool", *check.split()]
        done = subprocess.run(command, cwd=ROOT / "grafana/prometheus", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
