from tests.support.world import World
async def test_smoke(world: World) -> None:
    world.upload("a")
    world.capture("b")
    print(await world.settle())
    print(world.records(), world.calls, world.logs)
    print(world.history("a"), world.history("b"))
    world.check(); world.check_nothing_left()
    assert 0
