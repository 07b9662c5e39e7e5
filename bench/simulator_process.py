"""A simulator of Assure with existing dossiers of a grown store, and a pipe to query and control it.

`python -m bench.simulator_process FILE` prints its URL. FILE has a line of JSON for each dossier, with reference,
dossier, process and kind. A `waiting` dossier was started, and ends on command. The deletion of a `failing` one is
always refused. Each line of standard input is a command, and each answer is a line of JSON (`SimulatorProcess.send`).
"""

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from agent.sandbox import SandboxConfig
from agent.sandbox.model import AssureError, Dossier, Verdict
from agent.sandbox.server import SandboxServer
from bench.process import CORES
from bench.synthetic_store import SyntheticRequest


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """The simulator, controlled from the parent process."""

    url: str
    process: "subprocess.Popen[str]"

    def send(self, *command: str) -> Any:
        """Send a command and return the answer.

        `calls`: the number of calls by operation. `finish N`: accept N more of the waiting verifications now. `times`:
        the times of creation and start of each dossier since the last `times`, by reference.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def calls(self) -> dict[str, int]:
        """The number of calls so far, by operation."""
        found: dict[str, int] = self.send("calls")
        return found


@contextlib.contextmanager
def simulator_process(
    folder: Path, waiting: Iterable[SyntheticRequest] = (), failing: Iterable[SyntheticRequest] = (), delay: float = 0.0
) -> Iterator[SimulatorProcess]:
    """Run the simulator on the last core while the block runs. `delay`: the seconds that a new verification takes."""
    path = folder / "past.jsonl"
    with path.open("w") as file:
        for kind, grown in (("waiting", waiting), ("failing", failing)):
            for one in grown:
                file.write(json.dumps([one.reference, one.dossier, one.process, kind]) + "\n")
    command = [sys.executable, "-m", "bench.simulator_process", str(path), str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {CORES[-1]})
        assert process.stdout is not None
        try:
            yield SimulatorProcess(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


class _History:
    """The world with its existing dossiers, and a log of new ones."""

    def __init__(self, server: SandboxServer, rows: Sequence[tuple[str, str, str, str]]) -> None:
        self._world = world = server.world
        self._failing: set[str] = set()
        self._waiting: deque[str] = deque()
        self._times: dict[str, dict[str, float]] = {}
        new_id, now = world.new_id, time.time()
        for reference, dossier_id, process_id, kind in rows:
            dossier = Dossier(dossier_id=dossier_id, reference=reference, created_at=now, updated_at=now)
            world.dossiers[dossier_id] = dossier
            world.ledger.created(dossier_id, reference, now)
            ids = iter((process_id, process_id[::-1]))
            world.new_id = ids.__next__  # type: ignore[method-assign]
            process = world.add_process(dossier, "document", 1, "NLD", now)
            process.verdict = Verdict("accepted", math.inf if kind == "waiting" else now)
            if kind == "waiting":
                self._waiting.append(process_id)
            else:
                self._failing.add(dossier_id)
        world.new_id = new_id  # type: ignore[method-assign]
        self._note_times()

    def _note_times(self) -> None:
        world = self._world
        create, start, delete = world.create_dossier, world.start_verification, world.delete_dossier

        def created(body: dict[str, Any]) -> dict[str, Any]:
            self._times.setdefault("created", {})[str(body.get("externalReference"))] = time.time()
            return create(body)

        def started(dossier_id: str, *more: Any) -> dict[str, Any]:
            self._times.setdefault("started", {})[str(world.dossiers[dossier_id].reference)] = time.time()
            return start(dossier_id, *more)

        def deleted(dossier_id: str) -> None:
            if dossier_id in self._failing:
                raise AssureError(400, "Bad Request", "The dossier cannot be deleted.")
            delete(dossier_id)

        world.create_dossier = created  # type: ignore[method-assign]
        world.start_verification = started  # type: ignore[method-assign, assignment]
        world.delete_dossier = deleted  # type: ignore[method-assign]

    def handle(self, command: str, *values: str) -> Any:
        """Execute one command of `SimulatorProcess.send`."""
        if command == "calls":
            return self._world.ledger.calls
        if command == "times":
            times, self._times = self._times, {}
            return {"created": {}, "started": {}} | times
        assert command == "finish"
        for _ in range(min(int(values[0]), len(self._waiting))):
            self._world.processes[self._waiting.popleft()].verdict = Verdict("accepted", time.time())
        return len(self._waiting)


async def _serve(path: Path, delay: float) -> None:
    server = SandboxServer(SandboxConfig(verification_delay=(delay, delay)))
    past = _History(server, [tuple(json.loads(line)) for line in path.read_text().splitlines()])
    async with server:
        print(server.url, flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            print(json.dumps(past.handle(*line.decode().split())), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
