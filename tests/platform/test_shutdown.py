"""The errors of loops: which of them end the agent."""

import pytest

from agent.core.errors import Moved, StoreError
from agent.platform.shutdown import Shutdown


@pytest.mark.parametrize(
    ("error", "ends"), [(StoreError("the disk is full"), True), (Moved("uid"), False), (KeyError("a bug"), False)]
)
def test_a_record_that_another_replica_changed_does_not_end_the_agent(error: Exception, ends: bool) -> None:
    shutdown = Shutdown()
    shutdown.fail(error)
    assert shutdown.requested.is_set() is ends
    assert (shutdown.failure is error) is ends
