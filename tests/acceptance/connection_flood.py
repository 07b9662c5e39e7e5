"""A crowd of peers that connect to listeners and finish no request: in a process of its own, for its descriptors.

    python connection_flood.py COUNT HOST:PORT...

COUNT connections to each address stay open. Half of them are silent, half send one byte of a head every second. A
closed connection is opened again after a second. Prints `all there` when each was connected once; ends with its stdin.
"""

import asyncio
import contextlib
import itertools
import resource
import sys

HEAD = b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000


async def peer(host: str, port: int, slow: bool, arrived: asyncio.Semaphore) -> None:
    came = False
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            if not came:
                came = True
                arrived.release()
            ended = asyncio.ensure_future(reader.read())
            try:
                for index in itertools.count() if slow else ():
                    if ended.done():
                        break
                    writer.write(HEAD[index : index + 1])
                    await asyncio.sleep(1)
                await ended
            finally:
                ended.cancel()
                writer.transport.abort()
        await asyncio.sleep(1)


async def main(count: int, addresses: list[str]) -> None:
    arrived = asyncio.Semaphore(0)
    peers = []
    for number in range(count):
        for address in addresses:
            host, _, port = address.rpartition(":")
            peers.append(asyncio.create_task(peer(host, int(port), number % 2 == 0, arrived)))
    for _ in peers:
        await arrived.acquire()
    print("all there", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
