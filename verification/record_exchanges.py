"""`python -m verification.record_exchanges FILE`: replies of the sandbox to the command, as the agent received them.

Two requests are settled, one of each kind, with some faults of the sandbox. Of similar replies, the first is kept. The
tests compare `ReplyReader` with h11 on these bytes. Tokens are overwritten, and no reply contains a result.
"""

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from agent.sandbox import CANARIES
from verification.builders.request_files import (
    capture_spec,
    request_file,
    upload_spec,
    write_atomically,
    write_pictures,
)
from verification.builders.settings import environment
from verification.processes import COMMAND, PROMPT, simulated
from verification.temp_stores import temporary_folder
from verification.unreliable_wire import Exchange, UnreliableWire

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|aa-[a-z0-9-]+")
_SECRET = re.compile(rb'(?<="access_token":")[^"]*|(?<=artifact=)[0-9a-f]+')
_FAULTS: tuple[dict[str, Any], ...] = (
    {"operation": "createDossier", "kind": "429", "nth": 1, "retryAfter": "seconds", "seconds": 1.0},
    {"operation": "createDossier", "kind": "503", "nth": 2, "retryAfter": "http-date", "seconds": 1.0},
    {"operation": "createProcess", "kind": "html", "nth": 1, "status": 502},
    {"operation": "getProcess", "kind": "500", "nth": 1},
    {"operation": "getDossier", "kind": "revoke-token", "nth": 1},
    {"operation": "getDossier", "kind": "foreign", "nth": 2},
)


class _RecordingWire(UnreliableWire):
    """Forwards without a fault. `replies`: by the line of the request and the status, without ids."""

    def __init__(self, target: str) -> None:
        super().__init__(target, seed=1)
        self.replies: dict[str, bytes] = {}

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(reader, writer, head, self._port, self._chance)
        reply = await exchange.forward()
        line = _ID.sub("{id}", re.split(rb"\?| HTTP/", head, maxsplit=1)[0].decode())
        self.replies.setdefault(
            f"{line} {reply[9:12].decode()}", _SECRET.sub(lambda found: b"x" * len(found[0]), reply)
        )
        await exchange.send(reply)


def record() -> dict[str, str]:
    """The replies as Latin-1. Raises RuntimeError if a request is not settled or a reply contains a personal value."""
    with temporary_folder() as folder, simulated({"seed": "1", "delay": "300ms"}) as url:
        for name in ("specs", "images"):
            (folder / name).mkdir()
        images = write_pictures(folder / "images", "a", "sandbox-outcome=failed")
        write_atomically(folder / "specs" / "a.yaml", request_file("a", upload_spec(images, read_back=True)))
        write_atomically(folder / "specs" / "b.yaml", request_file("b", capture_spec("canceled")))
        rules = json.dumps(_FAULTS).encode()
        urllib.request.urlopen(urllib.request.Request(url + "/sandbox/faults", data=rules, method="POST")).close()
        with _RecordingWire(url) as wire:
            given = environment(folder, wire.url, **PROMPT, LOG_LEVEL="error")
            ended = subprocess.run([*COMMAND, "run", "--once", "--timeout", "120s"], env=given, cwd=folder, check=False)
        if ended.returncode or any(one.encode() in reply for one in CANARIES for reply in wire.replies.values()):
            raise RuntimeError(f"exit code {ended.returncode}, or a personal value in a reply")
        return {name: reply.decode("latin-1") for name, reply in sorted(wire.replies.items())}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(record(), indent=1) + "\n")
