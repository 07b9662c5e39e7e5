"""Output that cannot harm the work: a thread writes it, and what cannot be written is dropped and counted.

A log may be on a full disk, its reader may have died or have stopped reading, the terminal may be gone. A write then
fails, or blocks. Neither may reach the code that writes: the queue is bounded, and nobody waits for the thread but the
end of the process, for a moment.
"""

import contextlib
import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TextIO

_MAX_QUEUED = 10_000  # pieces that wait for the thread; a piece is a few hundred bytes
_MAX_BATCH = 200  # pieces in one write
_FULL_PIPE_PAUSE = 0.05  # seconds until a full pipe that does not block is tried again
_DRAIN_TIMEOUT = 1.0  # seconds that the end of the process waits for an output


class AtomicCounter:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, number: int) -> None:
        """Add so many."""
        with self._lock:
            self._value += number

    def take(self) -> int:
        """The number; it begins again at 0."""
        with self._lock:
            value, self._value = self._value, 0
        return value

    @property
    def value(self) -> int:
        """The number."""
        return self._value


class LossyWriter:
    """Writes bytes in a thread of its own. `send(data)` writes some of it, and returns how many bytes.

    `lost` counts lines that could not be written. Once writing succeeds again, `notice(count)` is written first.
    """

    def __init__(
        self,
        send: Callable[[bytes], int],
        lost: AtomicCounter,
        notice: Callable[[int], bytes] | None = None,
        most: int = _MAX_QUEUED,
    ) -> None:
        self._send = send
        self._lost = lost
        self._notice = notice
        self._most = most
        self._unreported = AtomicCounter()  # lost lines that no notice has reported
        self._mid_line = False  # the last line that was written has no end
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, piece: bytes) -> None:
        """Have it written, or drop it. Never waits, never raises OSError."""
        if self._queue.qsize() >= self._most:
            self._lose(piece)
            return
        self._queue.put(piece)
        if self._thread is None:
            self._start()

    def drain(self, timeout: float = _DRAIN_TIMEOUT) -> bool:
        """Wait until all is written or dropped, for `timeout` seconds at most. False: some of it still waits."""
        if self._thread is None:
            return True
        reached = threading.Event()
        self._queue.put(reached)
        return reached.wait(timeout)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lossy-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            pieces, reached = list[bytes](), list[threading.Event]()
            while not pieces or (len(pieces) < _MAX_BATCH and not self._queue.empty()):
                taken = self._queue.get()
                if isinstance(taken, threading.Event):
                    reached.append(taken)
                    break
                pieces.append(taken)
            data = b"".join(pieces)
            try:
                self._write(data)
            except Exception:  # of `notice`: without this thread nothing would be written any more
                self._lose(data)
            for event in reached:
                event.set()

    def _write(self, data: bytes) -> None:
        unsaid = self._unreported.take()
        if data and unsaid and self._notice is not None and self._written(self._notice(unsaid)):
            self._unreported.add(unsaid)
            self._lose(data)
        elif left := self._written(data):
            self._lose(left)

    def _written(self, data: bytes) -> bytes:
        """Write it as far as it goes; what is left."""
        if self._mid_line and data and self._sent(b"\n"):
            return data
        return self._sent(data)

    def _sent(self, data: bytes) -> bytes:
        while data:
            try:
                count = self._send(data)
            except BlockingIOError:  # the process that started this one made the pipe non-blocking
                time.sleep(_FULL_PIPE_PAUSE)
                continue
            except (OSError, ValueError):
                break
            self._mid_line = not data[:count].endswith(b"\n")
            data = data[count:]
        return data

    def _lose(self, data: bytes) -> None:
        lines = max(1, data.count(b"\n"))
        self._lost.add(lines)
        self._unreported.add(lines)


class LossyStream(io.TextIOBase):
    """In the place of sys.stdout or sys.stderr: `write` neither fails nor waits. `lost` counts lines."""

    def __init__(self, stream: TextIO, lost: AtomicCounter, notice: Callable[[int], bytes] | None = None) -> None:
        self._stream = stream
        self._writer = LossyWriter(_sender(stream), lost, notice)
        self._lock = threading.Lock()
        self._begun = ""  # a line without its end

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Is it a terminal?"""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """The file descriptor of the stream behind."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Take the text; whole lines go to the thread at once, the rest with `flush`."""
        with self._lock:
            whole, end, self._begun = (self._begun + text).rpartition("\n")
            self._put(whole + end)
        return len(text)

    def flush(self) -> None:
        """Give the thread what is left of a line."""
        with self._lock:
            begun, self._begun = self._begun, ""
            self._put(begun)

    def drain(self) -> None:
        """Wait for a moment until all is written."""
        self.flush()
        self._writer.drain()

    def _put(self, text: str) -> None:
        if text:
            self._writer.put(text.encode(self.encoding, "backslashreplace"))


def _sender(stream: TextIO) -> Callable[[bytes], int]:
    """Writes bytes to the descriptor of a stream: what its buffer keeps after an error would be written twice."""
    try:
        return partial(os.write, stream.fileno())
    except (OSError, ValueError):  # no file: it stands in for one in a test

        def send(data: bytes) -> int:
            stream.write(data.decode(errors="replace"))
            stream.flush()
            return len(data)

        return send


@contextlib.contextmanager
def lossy_output(lost: AtomicCounter, notice: Callable[[int], bytes]) -> Iterator[None]:
    """Print through LossyStream while the block runs. `lost` counts lines of stderr; `notice` tells of them there."""
    before = sys.stdout, sys.stderr
    out, err = LossyStream(sys.stdout, AtomicCounter()), LossyStream(sys.stderr, lost, notice)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.drain()
        err.drain()
        sys.stdout, sys.stderr = before
