"""The watch of a shared store: other replicas and commands change it without an event in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agent.core.errors import StoreError
from agent.ports import Command, SharedState, SharedStore

_INTERVAL = 1.0  # seconds of real time: a virtual clock that jumps a day must not stop at each second


class SharedWatch:
    """Applies the pause, the recovery and the commands of the store to this replica, within about a second."""

    def __init__(
        self,
        store: SharedStore,
        changed: Callable[[], Awaitable[None]],
        executed: Callable[[Command], Awaitable[None]],
        read: Callable[[SharedState], None],
        wakes: Sequence[Callable[[], None]],
        failed: Callable[[Exception], None],
    ) -> None:
        """`changed` is called after a change of the pause or the recovery, and `executed` for each new command.

        `read` gets the state of each poll. `wakes` are called at each poll, and `failed` with an error of the others.
        """
        self._store = store
        self._changed = changed
        self._executed = executed
        self._read = read
        self._wakes = wakes
        self._failed = failed
        self._seen: SharedState | None = None
        self._ignored: set[str] = set()  # ids of commands

    def ignore(self, command: Command) -> None:
        """This process has executed the command, so its effects are known."""
        self._ignored.add(command.id)

    async def run(self) -> None:
        """Poll once a second until cancelled. An error does not end it."""
        while True:
            try:
                await self.poll()
            except StoreError:
                pass  # the loops report it
            except Exception as error:
                self._failed(error)
            await asyncio.sleep(_INTERVAL)

    async def poll(self) -> None:
        """Poll once. Commands from before the first poll have no effect: the start applied what they left."""
        for wake in self._wakes:
            wake()
        state, before = await self._store.shared_state(), self._seen
        if before is None or (state.paused, state.recovery) != (before.paused, before.recovery):
            await self._changed()
        if before is not None and state.command > before.command:
            for command in await self._store.commands_after(before.command):
                if command.id in self._ignored:
                    self._ignored.remove(command.id)
                else:
                    await self._executed(command)
        self._seen = state
        self._read(state)
