"""The seven calls of an upload over plain aiohttp, as a program without the agent makes them. Imports no agent code."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

CONCURRENCY = 64
_CREDENTIALS = ("sandbox-client", "sandbox-secret")


class PlainCalls:
    """Calls of Assure. Each raises an exception for an unexpected answer."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._base = url + "/assure/dossiers"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def _call(self, method: str, path: str, status: int, content: bytes | None = None) -> Any:
        url = self._base + path
        async with self._session.request(method, url, data=content, headers=self._headers) as answer:
            if answer.status != status:
                raise RuntimeError(f"{method} {path}: {answer.status}")
            body = await answer.read()
            return orjson.loads(body) if body else None

    async def create_dossier(self, reference: str) -> str:
        """Return the id of a new dossier."""
        made = await self._call("POST", "", 201, orjson.dumps({"externalReference": reference}))
        return str(made["dossierId"])

    async def create_process(self, dossier: str) -> str:
        """Return the id of a new process."""
        body = orjson.dumps({"provider": "signicatpictureid", "processType": "document", "documentId": 137})
        made = await self._call("POST", f"/{dossier}/processes", 201, body)
        return str(made["processId"])

    async def upload_image(self, dossier: str, process: str, image: bytes) -> None:
        """Send one JPEG."""
        body = b'{"front":"data:image/jpeg;base64,%b"}' % base64.b64encode(image)
        await self._call("POST", f"/{dossier}/processes/{process}/images", 201, body)

    async def start_verification(self, dossier: str, process: str) -> None:
        """Start the verification."""
        await self._call("POST", f"/{dossier}/processes/{process}", 200)

    async def read_status(self, dossier: str, process: str) -> str:
        """Return the status of the process."""
        read = await self._call("GET", f"/{dossier}/processes/{process}", 200)
        return str(read["status"])

    async def delete_dossier(self, dossier: str) -> None:
        """Delete the dossier."""
        await self._call("DELETE", f"/{dossier}", 204)

    async def confirm_deletion(self, dossier: str) -> None:
        """Confirm that the dossier is missing."""
        await self._call("GET", f"/{dossier}", 404)


@asynccontextmanager
async def plain_calls(url: str) -> AsyncIterator[PlainCalls]:
    """Open the connections and get a token."""
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        form = {"grant_type": "client_credentials", "scope": "signicat-api"}
        basic = {"Authorization": aiohttp.encode_basic_auth(*_CREDENTIALS)}
        async with session.post(url + "/auth/open/connect/token", data=form, headers=basic) as answer:
            token = (await answer.json())["access_token"]
        yield PlainCalls(session, url, token)


async def plain_lifecycle(calls: PlainCalls, reference: str, image: bytes) -> None:
    """Verify one image without saving anything."""
    dossier = await calls.create_dossier(reference)
    process = await calls.create_process(dossier)
    await calls.upload_image(dossier, process, image)
    await calls.start_verification(dossier, process)
    await calls.read_status(dossier, process)
    await calls.delete_dossier(dossier)
    await calls.confirm_deletion(dossier)


async def run_all(count: int, lifecycle: Callable[[int], Awaitable[None]]) -> None:
    """Run `count` lifecycles, CONCURRENCY at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await lifecycle(number)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
