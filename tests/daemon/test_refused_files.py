"""The log reports each refused file once, without its name."""

from typing import Any

from structlog.testing import capture_logs

from tests.support.environment import World


def refused(logs: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in logs if str(entry["event"]).startswith("refused")]


async def test_a_refused_file_is_logged_when_it_is_refused_or_has_other_faults(world: World) -> None:
    """[I6] Names of files may contain names of persons."""
    file = world.specs / "jan-jansen.yaml"
    file.write_text("nonsense: 1\n")
    with capture_logs() as logs:
        async with world.running() as agent:
            for _ in range(3):
                await agent.scan()
            (first,) = refused(logs)
            other = world.specs / "other.yaml"
            other.write_text("nonsense: 1\n")
            await agent.scan()
            assert len(refused(logs)) == 2, "only the new one"
            other.unlink()
            await agent.scan()
            logs.remove(refused(logs)[1])
            file.write_text("a: 1\nb: [\n")
            await agent.scan()
            assert len(refused(logs)) == 2
            file.unlink()
            await agent.scan()
            file.write_text("a: 1\nb: [\n")
            await agent.scan()
            assert len(refused(logs)) == 3
    assert first["log_level"] == "warning"
    assert (first["line"], first["column"]) == (1, 1)
    assert "assure-agent get" in first["hint"]
    assert len({entry["digest"] for entry in refused(logs)}) == 1, "the same file has the same digest"
    assert "jansen" not in str(logs)


async def test_thousands_of_refused_files_do_not_flood_the_log(world: World) -> None:
    for number in range(130):
        (world.specs / f"bad-{number}.yaml").write_text("nonsense")
    with capture_logs() as logs:
        async with world.running() as agent:
            await agent.scan()
    assert len(refused(logs)) == 101
    assert refused(logs)[-1]["count"] == 30
