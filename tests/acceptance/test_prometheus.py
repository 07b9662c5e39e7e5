"""The agent as the SRE sees it: a real Prometheus scrapes it under load, every panel has an answer, alerts fire."""

import re
import signal
import urllib.request

import pytest

from grafana.overview import OVERVIEW
from grafana.privacy import PRIVACY
from grafana.rules import recordings
from tests.acceptance.office import Office
from tests.support.prometheus import MISSING, QUICK, REASON, Prometheus, eventually, free_port, watching

pytestmark = pytest.mark.skipif(MISSING, reason=REASON)
EXPRESSIONS = sorted(
    {query.expression for board in (OVERVIEW, PRIVACY) for panel in board.panels() for query in panel.queries}
    | {recorded["expr"] for recorded in recordings(QUICK)}
)


def asked(prometheus: Prometheus, expression: str) -> bool:
    """Does it have an answer, with the variables of the dashboard put in?"""
    concrete = re.sub(r"\$(agent|mode|process_type)", ".*", expression).replace("$__rate_interval", "10s")
    return bool(prometheus.query(concrete))


@pytest.mark.sandbox(delay="100ms-2s", outcomes="accepted=8,rejected=1,inconclusive=1")
def test_every_panel_and_rule_has_an_answer_under_load_and_the_right_alerts_fire(office: Office) -> None:
    port = free_port()
    office.settings |= {"LISTEN": f"127.0.0.1:{port}", "MAX_STARTS_PER_DAY": "200", "REQUEST_TIMEOUT": "2s"}
    for number in range(60):
        office.upload(f"person-{number}", "", selfie=number % 3 == 0)
    with office.running() as agent, watching(office.folder / "prometheus", f"127.0.0.1:{port}") as prometheus:
        eventually(lambda: bool(prometheus.query("assure_agent_outcomes_total")))
        for number in range(60, 120):
            office.upload(f"person-{number}", "", selfie=number % 3 == 0)
        silent = set(EXPRESSIONS)

        def all_answered() -> bool:
            silent.difference_update([one for one in silent if asked(prometheus, one)])
            return not silent

        try:
            eventually(all_answered)
        except AssertionError:
            pytest.fail("no answer to:\n" + "\n".join(sorted(silent)))
        assert prometheus.unhealthy() == []
        assert prometheus.firing() == set()

        office.upload("no-such-document", "").write_text(
            office.upload("no-such-document", "").read_text().replace("137", "9999")
        )
        eventually(lambda: "AssureAgentHeld" in prometheus.firing())  # Assure refuses it, and a person decides

        fault = b'[{"operation": "*", "kind": "503", "every": 1, "acts": false}]'
        urllib.request.urlopen(
            urllib.request.Request(office.url + "/sandbox/faults", data=fault, method="POST")
        ).close()
        for number in range(120, 140):
            office.upload(f"person-{number}", "")
        eventually(lambda: {"AssureAgentAssureFailing", "AssureAgentCircuitOpen"} <= prometheus.firing())

        agent.send_signal(signal.SIGTERM)
        eventually(lambda: "AssureAgentDown" in prometheus.firing())
