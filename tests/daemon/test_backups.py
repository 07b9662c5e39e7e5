"""Backups at intervals, while the agent works."""

import pytest

from agent.core.errors import SettingsError
from tests.support.environment import World

pytestmark = pytest.mark.state_file  # a server makes the backups of a database


def send_backup(world: World) -> float:
    with world.reading() as reading:
        return reading.gauges(world.clock.now())["backup_timestamp_seconds"]


async def test_without_a_folder_the_agent_makes_no_backup(world: World) -> None:
    async with world.running() as agent:
        assert await agent._maintenance._backups.make() is None
    assert send_backup(world) == 0.0


async def test_a_backup_is_made_when_the_last_is_old_enough_and_the_newest_are_kept(world: World) -> None:
    (kept := world.folder / "backups").mkdir()
    world.switches |= {"backup_dir": kept, "backup_interval": 60.0, "backup_keep": 2, "poll_interval": 60.0}
    world.upload("a", "sandbox-delay=20m")
    async with world.running() as agent:
        made = [await agent._maintenance._backups.make()]
        assert await agent._maintenance._backups.make() is None, "no backup is due yet"
        for _ in range(2):
            await world.clock.advance(60)
            made.append(await agent._maintenance._backups.make())
        assert send_backup(world) == float(int(world.clock.now()))
    assert None not in made
    assert sorted(kept.iterdir()) == made[1:]


async def test_a_new_store_reads_the_time_of_the_last_backup_from_the_folder(world: World) -> None:
    """Otherwise an alert would report a missing backup."""
    (world.folder / "backups").mkdir()
    world.switches |= {"backup_dir": world.folder / "backups", "poll_interval": 60.0}
    async with world.running() as agent:
        assert await agent._maintenance._backups.make() is not None
        made = send_backup(world)
    for path in world.state.parent.glob("agent.db*"):
        path.unlink()
    async with world.running() as agent:
        assert await agent._maintenance._backups.make() is None, "no backup is due yet"
        assert send_backup(world) == made > 0


async def test_a_failed_backup_is_logged_and_the_agent_continues(world: World) -> None:
    """[I9] The disk of the backups is removed while the agent runs: nothing is written below its mount point."""
    (folder := world.folder / "backups").mkdir()
    world.switches["backup_dir"] = folder
    world.upload("a")
    async with world.running() as agent:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert await agent._maintenance._backups.make() is None
        assert not folder.exists()
        assert agent._telemetry._metrics.registry.get_sample_value("assure_agent_backup_interval_seconds") == 86400.0, (
            "an alert needs the interval to report a missing backup"
        )
        assert "backup failed" in [entry["event"] for entry in world.logs]
        await world.clock.advance(60)
    assert world.record("a").outcome == "accepted"


async def test_the_agent_does_not_start_without_the_folder_of_its_backups(world: World) -> None:
    world.switches["backup_dir"] = world.folder / "backups"
    with pytest.raises(SettingsError, match="ASSURE_AGENT_BACKUP_DIR: expected an existing folder; found '/"):
        async with world.running():
            pass
    assert not (world.folder / "backups").exists()
