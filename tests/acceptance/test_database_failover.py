"""The installed command during a failover that loses the last transactions: it starts nothing twice [I2, P10]."""

from collections.abc import Iterator

import pytest

from tests.acceptance.databases import records, recoveries, until, use
from tests.acceptance.installed_command import NEVER, Office
from tests.acceptance.test_disaster_recovery import starts
from tests.store.postgres.test_failover import back_up, fail_over
from tests.support.restartable_server import RestartableServer, restartable_server
from verification.postgres_server import binaries

pytestmark = [pytest.mark.state_file, pytest.mark.sandbox(delay="100ms")]


@pytest.fixture
def server(office: Office) -> Iterator[RestartableServer]:
    """A server of this test alone, which another one replaces."""
    if not (binaries() / "pg_basebackup").exists():
        pytest.skip(f"no pg_basebackup in {binaries()}")
    with restartable_server() as server:
        use(office, server.url())
        office.settings["POLL_INTERVAL"] = NEVER
        yield server


@pytest.mark.parametrize("lossless", [True, False], ids=["nothing lost", "transactions lost"])
def test_a_failover_while_the_agent_runs(office: Office, server: RestartableServer, lossless: bool) -> None:
    office.upload("before")
    with office.running() as agent:
        until(office, lambda items: "before" in items and items["before"].phase == "result")
        back_up(server)
        office.upload("since")
        until(office, lambda items: "since" in items and items["since"].phase == "result")
        fail_over(server, lossless)
        if not lossless:
            until(office, lambda items: recoveries(office) == [("older", False, False)] if items else False)
        office.upload("new")
        if not lossless:
            until(office, lambda items: len(items) == 3 and items["since"].billed)  # Assure knows its start
            assert sorted(starts(office).values()) == [1, 1]
            assert records(office)["new"].phase != "result"
            assert office.run("approve", "--yes") == 0, office.output
        until(office, lambda items: "new" in items and items["new"].phase == "result")
        assert sorted(starts(office).values()) == [1, 1, 1]
        assert agent.poll() is None
    assert office.ledger()["violations"] == []
    assert len(recoveries(office)) == (0 if lossless else 1)
    assert "Traceback" not in office.output
