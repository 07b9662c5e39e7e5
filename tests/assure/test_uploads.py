"""Uploads of images: the bytes on the wire, and the memory that an upload holds."""

import asyncio
import base64
import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assure import request_bodies
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.assure.http.messages import Pieces
from agent.core.answer import Done
from agent.core.assure_types import Depiction
from agent.core.effect import ImageRef
from agent.ports import Image, UnusableImage
from agent.source.images import ImageFolder, ImageProblem
from tests.assure.conftest import JumpingClock
from tests.assure.http.conftest import serving
from tests.assure.scripted_server import ScriptedServer, answer

LARGE = 10_000_000  # bytes: more than the buffers between client and server hold
NOISE = hashlib.shake_256(b"image").digest(LARGE + 1000)
PNG, PNG_END = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", b"\x00\x00\x00\x00IEND\xaeB`\x82"
PIECE, WHOLE = 96 * 1024, 128 * 1024  # bytes: of an image encoded at once, and of a body sent at once
EDGES = [edge + near for edge in (0, PIECE, 2 * PIECE, WHOLE * 3 // 4) for near in range(-60, 10) if edge + near >= 0]
SIZES = st.integers(0, 400_000) | st.sampled_from(EDGES)


def picture(size: int, media_type: str = "image/jpeg") -> Image:
    return Image(content=NOISE[:size], media_type=media_type)


def whole(images: dict[Depiction, Image]) -> bytes:
    """The body as the contract shows it (§7), by the standard library."""
    urls = {
        depiction: f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}"
        for depiction, image in images.items()
    }
    return json.dumps(urls, separators=(",", ":")).encode()


@given(
    st.dictionaries(
        st.sampled_from(Depiction), st.builds(picture, SIZES, st.sampled_from(["image/jpeg", "image/png"])), min_size=1
    )
)
def test_the_pieces_are_the_whole_body_each_time_they_are_produced(images: dict[Depiction, Image]) -> None:
    body, expected = request_bodies.new_images(images), whole(images)
    if len(expected) <= WHOLE:
        assert body == expected
    else:
        assert isinstance(body, Pieces)
        assert body.length == len(expected)
        for _ in range(2):
            pieces = list(body.produce())
            assert b"".join(pieces) == expected
            assert max(map(len, pieces)) <= WHOLE


@pytest.mark.parametrize("size", [50_000, 1_000_000])
async def test_an_upload_is_repeated_after_a_401_with_the_same_bytes(
    client: AssureClient, server: ScriptedServer, size: int
) -> None:
    images = {Depiction.FRONT: picture(size), Depiction.SELFIE: picture(size + 1, "image/png")}
    server.will(answer(401), answer(201))
    assert isinstance(await client.upload_images("d-1", "p-1", images), Done)
    assert [delivery.body for delivery in server.deliveries] == [whole(images)] * 2
    tokens = [delivery.headers["authorization"] for delivery in server.deliveries]
    assert tokens == ["Bearer token-1", "Bearer token-2"]


@dataclass
class Waiting:
    """A server that has read the head of an upload, and reads the body after `may_read` is set."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    body: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.begun.set()
        await self.may_read.wait()
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        self.body = await reader.readexactly(length)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def waiting(config: Config, clock: JumpingClock) -> AsyncIterator[tuple[Waiting, AssureClient]]:
    server = Waiting()
    async with (
        serving(server.serve) as port,
        AssureClient(replace(config, base_url=f"http://127.0.0.1:{port}"), clock) as client,
    ):
        assert await client.authenticate() is None
        yield server, client


async def test_a_file_that_changes_during_the_upload_is_sent_as_it_was_digested(
    config: Config, clock: JumpingClock, tmp_path: Path
) -> None:
    admitted, other = (PNG + NOISE[at : at + LARGE] + PNG_END for at in (0, 1000))
    file = tmp_path / "front.png"
    file.write_bytes(admitted)
    folder, digest = ImageFolder(tmp_path, 2 * LARGE), hashlib.sha256(admitted).hexdigest()
    wanted = [ImageRef(depiction=Depiction.FRONT, path=file.name, sha256=digest)]
    images = await folder.read(wanted)
    assert not isinstance(images, UnusableImage)
    async with waiting(config, clock) as (server, client):
        sending = asyncio.create_task(client.upload_images("d-1", "p-1", images))
        await server.begun.wait()
        file.write_bytes(other)
        server.may_read.set()
        assert isinstance(await sending, Done)
    sent = base64.b64decode(json.loads(server.body)["front"].removeprefix("data:image/png;base64,"))
    assert hashlib.sha256(sent).hexdigest() == digest
    changed = await folder.read(wanted)
    assert isinstance(changed, UnusableImage), "the next upload is not sent"
    assert changed.reason is ImageProblem.CHANGED


async def test_a_large_image_is_encoded_as_the_server_takes_it(config: Config, clock: JumpingClock) -> None:
    images = {Depiction.FRONT: picture(LARGE)}
    async with waiting(config, clock) as (server, client):
        tracemalloc.start()
        try:
            sending = asyncio.create_task(client.upload_images("d-1", "p-1", images))
            await server.begun.wait()
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert held < LARGE // 4, "the buffers of both sides, not the encoded image"
        server.may_read.set()
        assert isinstance(await sending, Done)
    assert server.body == whole(images)
