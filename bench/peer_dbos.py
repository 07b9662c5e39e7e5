"""The seven calls as a workflow of DBOS. `python -m bench.peer_dbos COUNT URL DATABASE FOLDER`; COUNT 0 installs it.

Each call is a step, so DBOS saves its result. The workflows are in a queue with limited concurrency.
"""

import asyncio
import sys
import time
from pathlib import Path

import uvloop
from dbos import DBOS

from bench.plain_calls import CONCURRENCY, PlainCalls, plain_calls
from bench.process import cpu, report

_QUEUE = "verify"


class _Work:
    """The state that the steps of all workflows share."""

    calls: PlainCalls
    folder: Path
    left: int
    done: asyncio.Event


@DBOS.step()
async def create_dossier(reference: str) -> str:
    """A step with one call, as the next six."""
    return await _Work.calls.create_dossier(reference)


@DBOS.step()
async def create_process(dossier: str) -> str:
    """See `create_dossier`."""
    return await _Work.calls.create_process(dossier)


@DBOS.step()
async def upload_image(dossier: str, process: str, number: int) -> None:
    """Read and send the image, so that DBOS does not save it."""
    await _Work.calls.upload_image(dossier, process, (_Work.folder / f"{number}.jpg").read_bytes())


@DBOS.step()
async def start_verification(dossier: str, process: str) -> None:
    """See `create_dossier`."""
    await _Work.calls.start_verification(dossier, process)


@DBOS.step()
async def read_status(dossier: str, process: str) -> str:
    """See `create_dossier`."""
    return await _Work.calls.read_status(dossier, process)


@DBOS.step()
async def delete_dossier(dossier: str) -> None:
    """See `create_dossier`."""
    await _Work.calls.delete_dossier(dossier)


@DBOS.step()
async def confirm_deletion(dossier: str) -> None:
    """See `create_dossier`."""
    await _Work.calls.confirm_deletion(dossier)


@DBOS.workflow()
async def lifecycle(number: int) -> str:
    """Verify one image."""
    dossier = await create_dossier(f"dbos-{number}")
    process = await create_process(dossier)
    await upload_image(dossier, process, number)
    await start_verification(dossier, process)
    status = await read_status(dossier, process)
    await delete_dossier(dossier)
    await confirm_deletion(dossier)
    _Work.left -= 1
    if not _Work.left:
        _Work.done.set()
    return status


async def _run(count: int, url: str, folder: Path) -> None:
    _Work.folder, _Work.left, _Work.done = folder, count, asyncio.Event()
    DBOS.launch()
    await DBOS.register_queue_async(_QUEUE, worker_concurrency=CONCURRENCY)
    if count:
        async with plain_calls(url) as _Work.calls:
            for number in range(count):
                await DBOS.enqueue_workflow_async(_QUEUE, lifecycle, number)
            await _Work.done.wait()  # a handle for each workflow would poll the database
            while await DBOS.list_workflows_async(status=["PENDING", "ENQUEUED"], limit=1):
                await asyncio.sleep(0.1)


def _main(count: int, url: str, database: str, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    DBOS(config={"name": "bench", "system_database_url": database, "log_level": "ERROR"})
    uvloop.run(_run(count, url, folder))
    DBOS.destroy(workflow_completion_timeout_sec=60)
    return {"seconds": time.perf_counter() - began, "cpu": cpu()}


if __name__ == "__main__":
    report(**_main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])))
