"""The agent as the SRE sees it: a real Prometheus scrapes it under load, every panel has an answer, alerts fire."""

import itertools
import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from grafana.objectives import recordings
from grafana.overview import OVERVIEW
from grafana.panels import Query
from grafana.privacy import PRIVACY
from grafana.prometheus_server import MISSING, QUICK, REASON, VERY_QUICK, eventually, free_port, running
from tests.acceptance.installed_command import Office
from verification.processes import simulated

pytestmark = pytest.mark.skipif(MISSING, reason=REASON)
QUERIES = {query for board in (OVERVIEW, PRIVACY) for panel in board.panels() for query in panel.queries} | {
    Query(recorded["expr"], recorded["record"]) for recorded in recordings(QUICK)
}
FREE = "assure_agent_store_free_bytes"  # absent with a database, because its server does not report it
OF_DATABASE = ("assure_agent_oldest_snapshot_seconds", "assure_agent_lease_remaining_seconds")  # of replicas


def trouble(url: str, **rule: object) -> None:
    """Let the simulated Assure misbehave from now on."""
    body = json.dumps([rule]).encode()
    urllib.request.urlopen(urllib.request.Request(url + "/sandbox/faults", data=body, method="POST")).close()


@pytest.mark.sandbox(delay="100ms-2s", outcomes="accepted=8,rejected=1,inconclusive=1")
def test_every_panel_and_rule_has_an_answer_under_load_and_the_right_alerts_fire(office: Office) -> None:
    port = free_port()
    office.settings |= {"LISTEN": f"127.0.0.1:{port}", "MAX_STARTS_PER_DAY": "200", "REQUEST_TIMEOUT": "2s"}
    for number in range(60):
        office.upload(f"person-{number}", "", selfie=number % 3 == 0)
    with office.running() as agent, running(office.folder / "prometheus", f"127.0.0.1:{port}") as prometheus:
        eventually(lambda: bool(prometheus.query("assure_agent_outcomes_total")))
        for number in range(60, 120):
            office.upload(f"person-{number}", "", selfie=number % 3 == 0)
        office.source.publish()
        absent = (FREE,) if office.store else OF_DATABASE
        silent = {query for query in QUERIES if not any(name in query.expression for name in absent)}

        def all_answered() -> bool:
            silent.difference_update([one for one in silent if prometheus.answers(one)])
            return not silent

        try:
            eventually(all_answered)
        except TimeoutError:
            pytest.fail("no answer to:\n" + "\n".join(sorted(query.expression for query in silent)))
        assert prometheus.unhealthy() == []
        eventually(lambda: prometheus.firing() == set())

        office.upload("no-such-document", "").write_text(
            office.upload("no-such-document", "").read_text().replace("137", "9999")
        )
        office.source.publish()
        eventually(lambda: "AssureAgentHeld" in prometheus.firing())  # Assure refuses it, and a person decides

        trouble(office.url, operation="*", kind="503", every=1, acts=False)
        for number in range(120, 140):
            office.upload(f"person-{number}", "")
        office.source.publish()
        eventually(lambda: {"AssureAgentAssureFailing", "AssureAgentCircuitOpen"} <= prometheus.firing())

        agent.send_signal(signal.SIGTERM)
        eventually(lambda: "AssureAgentDown" in prometheus.firing())


def test_silence_of_events_is_noticed_while_results_come_by_polling(tmp_path: Path, store: dict[str, Any]) -> None:
    for name in ("specs", "images"):
        (tmp_path / name).mkdir()
    port, events = free_port(), free_port()
    options = {"delay": "1s-3s", "events-url": f"http://127.0.0.1:{events}/events", "events-secret": "a-secret"}
    with simulated(options) as url:
        office = Office(tmp_path, url, **store)
        office.settings |= {"LISTEN": f"127.0.0.1:{port}", "POLL_INTERVAL": "1s"}
        office.settings |= {"EVENTS_LISTEN": f"127.0.0.1:{events}", "EVENTS_SECRET": "a-secret"}
        numbers = itertools.count()

        def is_silent() -> bool:
            office.upload(f"person-{next(numbers)}")
            return "AssureAgentEventsSilent" in prometheus.firing()

        with office.running(), running(tmp_path / "prometheus", f"127.0.0.1:{port}", VERY_QUICK) as prometheus:
            eventually(lambda: is_silent() or prometheus.history("sum(assure_agent_outcomes_total) > 20", 1) != [])
            assert prometheus.query('assure_agent_events_total{result="woke"} > 0')
            eventually(lambda: not is_silent())
            trouble(url, operation="event", kind="drop", every=1)
            eventually(is_silent)
