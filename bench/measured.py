"""What is measured, each in a process of its own: `python -m bench.measured KIND COUNT URL` prints one line of JSON."""

import asyncio
import io
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from PIL import Image as Picture

from agent.account import TOKEN_PATH
from agent.assure.client import AssureClient, Config
from agent.clock import SystemClock
from agent.core.answer import Done
from agent.core.remote import Depiction, ProcessType
from agent.log import configure
from agent.ports import Image
from agent.runtime import Agent
from agent.settings import load_settings

CONCURRENCY = 64
CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
REQUEST = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata: {{name: person-{number}}}
spec:
  processType: document
  upload: {{documentId: 137, images: {{front: front.jpg}}}}
"""


def picture() -> bytes:
    """A JPEG of about 50 kB."""
    noise = Picture.effect_noise((230, 230), 90)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def cpu() -> float:
    """Seconds of CPU of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def lifecycle(client: AssureClient, number: int, image: Image) -> None:
    """The calls that the agent makes for one upload request, and nothing else."""
    dossier = await client.create_dossier(f"bare-{number}-{time.time_ns()}")
    assert isinstance(dossier, Done)
    process = await client.create_process(dossier.value, ProcessType.DOCUMENT, 137)
    assert isinstance(process, Done)
    ids = dossier.value, process.value.process_id
    await client.upload_images(*ids, {Depiction.FRONT: image})
    await client.read_process(*ids)
    await client.start_verification(*ids)
    read = await client.read_process(*ids)
    assert isinstance(read, Done)
    assert read.value.status.final
    await client.delete_dossier(dossier.value)
    await client.read_dossier(dossier.value)


async def bare(count: int, url: str) -> None:
    """The same calls in a loop with no state."""
    config = Config(base_url=url, token_url=url + TOKEN_PATH, concurrency=CONCURRENCY, **CLIENT)
    image = Image(content=picture(), media_type="image/jpeg")
    numbers = iter(range(count))
    async with AssureClient(config, SystemClock()) as client:

        async def work() -> None:
            for number in numbers:
                await lifecycle(client, number, image)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def agent(count: int, url: str) -> None:
    """The installed agent: files in, deleted dossiers out, every transition durable."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "specs").mkdir()
        (folder / "front.jpg").write_bytes(picture())
        for number in range(count):
            (folder / "specs" / f"{number}.yaml").write_text(REQUEST.format(number=number))
        await asyncio.sleep(0.3)  # files settle before they are read
        configure("json", "error")
        settings = load_settings(
            base_url=url,
            specs_dir=folder / "specs",
            images_dir=folder,
            state_url=f"sqlite:///{folder}/agent.db",
            listen="127.0.0.1:0",
            poll_interval=1.0,
            concurrency=CONCURRENCY,
            **CLIENT,
        )
        async with Agent.opened(settings) as running:
            finished = await running.run_once(600.0)
        assert not finished.still_moving
        assert not finished.refused


def main() -> None:
    """Run one of them and print what it took."""
    kind, count, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    began, spent = time.perf_counter(), cpu()
    uvloop.run({"bare": bare, "agent": agent}[kind](count, url))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "cpu": cpu() - spent}))


if __name__ == "__main__":
    main()
