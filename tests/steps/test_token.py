"""Before every step: the access token (contract §1)."""

from agent.core.record import Phase
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin


def unauthorized(world: World) -> int:
    """Attempts that were answered with 401."""
    return int(world.rows("SELECT count(*) FROM attempts WHERE status = 401")[0][0])


async def test_one_token_serves_many_requests(world: World) -> None:
    for number in range(10):
        world.upload(f"a-{number}")
    await world.settle()
    assert world.ledger.calls["token"] == 1
    assert all(record.outcome == "accepted" for record in world.records().values())


async def test_the_token_is_renewed_before_it_expires(begin: Begin) -> None:
    world = await begin(token_lifetime=300)
    world.upload("a", "sandbox-delay=20m")
    refused: list[int] = []
    async with world.running(poll_interval=7.0):
        check = world.sandbox.tokens.check

        def counting(authorization: str) -> None:
            try:
                check(authorization)
            except Exception:
                refused.append(1)
                raise

        world.sandbox.tokens.check = counting  # type: ignore[method-assign]
        await world.clock.advance(1_300)
        assert world.record("a").outcome == "accepted"
    assert refused == []
    assert world.ledger.calls["token"] == 5  # every 270 s


async def test_a_refused_token_is_renewed_once_for_all_calls_in_flight(world: World) -> None:
    names = [f"a-{number}" for number in range(8)]
    for name in names:
        world.upload(name, "sandbox-delay=60s")
    async with world.running():
        await world.clock.advance(10)
        assert {record.phase for record in world.records().values()} == {Phase.RESULT}
        world.sandbox.tokens.revoke_all()
        await world.clock.advance(100)
        assert {record.outcome for record in world.records().values()} == {"accepted"}
    assert world.ledger.calls["token"] == 2
    assert [world.starts(name) for name in names] == [1] * 8
    world.check()


async def test_a_token_that_is_revoked_at_the_start_costs_no_second_start(world: World) -> None:
    """[I2] 401 proves that nothing happened: once more with a new token."""
    world.sandbox.faults.add([rule("startVerification", "revoke-token")])
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["startVerification"] == 2
    assert world.starts("a") == 1
    assert world.ledger.calls["token"] == 2
    assert unauthorized(world) == 0


async def test_the_agent_waits_for_a_failing_token_endpoint(world: World) -> None:
    """[I1]"""
    world.upload("a", "sandbox-delay=30s")
    async with world.running():
        world.sandbox.tokens.revoke_all()
        world.sandbox.faults.add([rule("token", "503", nth=1, count=3)])
        await world.clock.advance(300)
        assert world.record("a").outcome == "accepted"
    world.check()


async def test_neither_secret_nor_token_is_in_the_state_or_in_the_logs(world: World) -> None:
    """[I6]"""
    world.upload("a")
    await world.settle()
    tokens = [*world.sandbox.tokens._ends, world.sandbox.config.client_secret]
    assert tokens[1:]
    for secret in tokens:
        assert secret.encode() not in world.state_bytes()
        assert secret not in repr(world.logs)
    assert world.sandbox.config.client_secret not in repr(world.settings())
