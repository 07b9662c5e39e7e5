"""A replica whose lease was removed while it waits for an answer of Assure."""

import asyncio

import pytest

from agent.core.effect import CreateDossier, Effect, EffectKind
from agent.core.errors import Fenced
from agent.core.observations import Answered
from agent.core.record import Outcome
from tests.controller.controller_harness import Perform, capture_record, driving
from tests.controller.test_reconciler import end, run
from tests.support.clock import patiently
from tests.support.environment import World
from tests.support.postgres_server import PostgresServer


@pytest.fixture
def database_server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


async def test_the_answer_of_a_fenced_replica_is_never_applied(world: World) -> None:
    """[P8] The request keeps its intent. Another replica treats the answer as lost, and finds the dossier."""

    async def around(effect: Effect, perform: Perform) -> Answered:
        answer = await perform(effect)
        if isinstance(effect, CreateDossier):
            await world.server.execute("DELETE FROM replicas", database=world.database)
        return answer

    async with driving(world, around) as drive:
        await drive.reconciler.admit([capture_record("a")])
        with pytest.raises(Fenced):
            await patiently(asyncio.create_task(drive.reconciler.run()))
        record = drive.record("a")
        assert record.intent is not None
        assert (record.intent.kind, record.dossier_id) == (EffectKind.CREATE_DOSSIER, None)
        assert len(world.ledger.dossiers) == 1
    async with driving(world) as drive:
        task = await run(drive, world)
        await world.clock.advance(600)
        assert drive.record("a").outcome is Outcome.ACCEPTED
        await end(drive, world, task)
    assert len(world.ledger.dossiers) == 1
    world.check_nothing_left()
