"""Periodic backups in one folder. Only the newest are kept."""

import asyncio
from pathlib import Path

from agent.core.errors import AgentError, SettingsError
from agent.platform.log import logger
from agent.platform.settings import Settings
from agent.ports import Clock, KeyValue, MetaKey
from agent.store.sqlite.backup import Backup, back_up, last_in, prune


def need_backup_folder(settings: Settings) -> None:
    """Raise SettingsError if BACKUP_DIR does not exist, or STATE_URL names a database, which only its operator copies.

    A new folder below an absent mount would fill another disk.
    """
    folder = settings.backup_dir
    if folder is not None and settings.uses_database:
        raise SettingsError(
            "ASSURE_AGENT_BACKUP_DIR is set, and STATE_URL names a database, which the agent does not back up.",
            "remove the setting, and back up the database with pg_dump or with the archive of its server",
        )
    if folder is not None and not folder.is_dir():
        raise SettingsError(
            f"ASSURE_AGENT_BACKUP_DIR: expected an existing folder; found '{folder}'.",
            "create or mount it, or leave the setting out; `assure-agent doctor` shows where it is set",
        )


class Backups:
    """Makes a backup when the last one in the folder is `interval` seconds old; without a folder, none."""

    def __init__(
        self, store: KeyValue, clock: Clock, state: Path, folder: Path | None, interval: float, keep: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._state = state
        self._folder = folder
        self._interval = interval
        self._keep = keep
        self._log = logger()

    async def make(self) -> Path | None:
        """Make a backup if it is due, and return its path. A failure is logged and tried again later."""
        if self._folder is None or not self._clock.confirmed:  # with a wrong time, `prune` would remove the newest
            return None
        try:
            made = await asyncio.to_thread(self._make, self._folder, self._clock.now())
        except (AgentError, OSError) as error:
            hint = error.hint if isinstance(error, AgentError) else "check ASSURE_AGENT_BACKUP_DIR"
            self._log.error("backup failed", error=f"{type(error).__name__}: {error}", hint=hint)
            return None
        if isinstance(made, float):
            if await self._store.recall_time(MetaKey.BACKED_UP) is None:  # an earlier store made it
                await self._store.remember(MetaKey.BACKED_UP, made)
            return None
        await self._store.remember(MetaKey.BACKED_UP, made.at)
        self._log.info("backed up", count=made.requests)
        return made.path

    def _make(self, folder: Path, now: float) -> Backup | float:
        """The new backup, or the time of the last one if none is due."""
        last = last_in(folder, now)
        if last is not None and now - last < self._interval:
            return last
        made = back_up(self._state, folder, now)
        prune(folder, self._keep, now)
        return made
