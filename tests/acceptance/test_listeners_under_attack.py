"""A peer without a secret does not stop the installed command (issue 13, point 3), with systemd's 1,024 descriptors."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.acceptance import connection_flood
from tests.acceptance.installed_command import Office
from tests.support.timeouts import PATIENT, eventually
from verification.processes import COMMAND

CROWD = 2000  # peers on each listener
MEMORY = 150  # MB, at most
LIMITED = ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", *COMMAND]


@dataclass
class Attacked:
    """An agent at work, and where it listens."""

    process: "subprocess.Popen[bytes]"
    log: Path
    listeners: tuple[str, ...]  # HOST:PORT of LISTEN and EVENTS_LISTEN

    def get(self, path: str) -> str:
        """The body of a 200; anything else is an error."""
        with urllib.request.urlopen(f"http://{self.listeners[0]}{path}", timeout=PATIENT) as answer:
            return str(answer.read().decode())

    def probed(self) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            self.get(path)

    def dropped(self, listener: str, reason: str) -> float:
        wanted = f'assure_agent_connections_dropped_total{{listener="{listener}",reason="{reason}"}}'
        return float(self.get("/metrics").split(wanted)[1].split()[0])

    def most_memory(self) -> int:
        """Of all its life, in MB."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) // 1024

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENT) == 0
        text = self.log.read_text()
        assert "Traceback" not in text
        assert "chmod" not in text


@contextlib.contextmanager
def at_work(office: Office) -> Iterator[Attacked]:
    given = {"EVENTS_SECRET": "a secret of the events", "EVENTS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
    office.settings |= given
    log = office.folder / "agent.platform.log"
    with (
        log.open("w") as file,
        subprocess.Popen([*LIMITED, "run"], env=office.environment, stdout=file, stderr=file) as process,
    ):
        try:
            eventually(lambda: '"started"' in log.read_text(), log.read_text)
            line = next(line for line in log.read_text().splitlines() if '"started"' in line)
            urls = [json.loads(line)[key] for key in ("address", "events")]
            yield Attacked(process, log, tuple(url.removeprefix("http://") for url in urls))
        finally:
            process.kill()


@contextlib.contextmanager
def crowded(listeners: tuple[str, ...]) -> Iterator[None]:
    """Silent and slow peers on each listener while the block runs."""
    command = [sys.executable, connection_flood.__file__, str(CROWD), *listeners]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "all there\n"
            yield
        finally:
            process.kill()


def settles(office: Office, name: str) -> None:
    office.upload(name)
    eventually(lambda: office.seen().get(name, {}).get("phase") == "done", lambda: f"{name} did not settle")


def test_two_thousand_silent_and_slow_peers_on_each_listener_stop_nothing(office: Office) -> None:
    with at_work(office) as agent:
        settles(office, "before")
        with crowded(agent.listeners):
            for _ in range(3):
                agent.probed()
            settles(office, "meanwhile")
            agent.probed()
            assert agent.dropped("listen", "crowded") > CROWD / 2
            assert agent.dropped("events_listen", "crowded") > CROWD / 2
            assert agent.most_memory() < MEMORY
            agent.end()


FLOODS = (
    (b"GET /healthz HTTP/1.1\r\nX-Value: ", b"a"),
    (b"GET /healthz HTTP/1.1\r\n", b"X-Header: and one more\r\n"),
    (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: and one more\r\n"),
    (b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
)


def test_floods_of_headers_trailers_and_requests_do_not_take_the_memory(office: Office) -> None:
    with at_work(office) as agent:
        settles(office, "before")
        for (begin, more), listener in product(FLOODS, agent.listeners):
            host, _, port = listener.partition(":")
            block = more * (65536 // len(more) + 1)
            with socket.create_connection((host, int(port)), PATIENT) as peer, contextlib.suppress(ConnectionError):
                peer.sendall(begin)
                for _ in range(1600):  # 100 MiB, unless it is cut off
                    peer.sendall(block)
            agent.probed()
            assert agent.most_memory() < MEMORY
        settles(office, "afterwards")
        agent.end()


@contextlib.contextmanager
def endless(block: bytes) -> Iterator[tuple[str, list[int]]]:
    """An Assure whose answers never end. Gives its URL, and for each answer how many bytes were taken until the end."""
    taken: list[int] = []

    def answer(connection: socket.socket) -> None:
        sent = 0
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            try:
                while sent < 400_000_000:
                    sent += connection.send(block)
            finally:
                taken.append(sent)

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)


def test_an_endless_100_continue_of_assure_stops_nothing(office: Office) -> None:
    with endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000) as (office.url, taken), at_work(office) as agent:
        eventually(lambda: taken)
        agent.get("/healthz")
        assert max(taken) < 20_000_000, "no more than the buffers of the system hold"
        assert agent.most_memory() < MEMORY
        agent.end()
