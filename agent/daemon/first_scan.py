"""The first scan of a start. In a large folder, the first calls go out while it still runs (decision 0012)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Scan = Callable[[Callable[[], None] | None], Awaitable[None]]  # its argument: see `Admission.scan`


@contextlib.asynccontextmanager
async def first_scan(
    scan_source: Scan, gradually: bool, finished: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]
) -> AsyncIterator[None]:
    """Scan the source before the block runs, and call `finished`.

    A gradual scan of a large folder continues during the block, once it has admitted some requests. Its error then goes
    to `failed`; before the block, it is raised.
    """
    progress = asyncio.Event()

    async def scan() -> None:
        await scan_source(progress.set if gradually else None)
        await finished()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            failed(error)

    scanning, progressing = asyncio.create_task(scan()), asyncio.create_task(progress.wait())
    try:
        await asyncio.wait({scanning, progressing}, return_when=asyncio.FIRST_COMPLETED)
        if scanning.done():
            scanning.result()
        else:
            scanning.add_done_callback(ended)
        yield
    finally:
        scanning.cancel()
        progressing.cancel()
        await asyncio.gather(scanning, progressing, return_exceptions=True)
