"""Output that never blocks or fails: a thread writes it, and drops and counts the lines that it cannot write.

A write blocks or fails if the disk is full, the reader has stopped, or the terminal is closed. The code that writes
must not notice this. Therefore the queue is bounded, and only the end of the process waits for the thread, for
_DRAIN_TIMEOUT seconds.
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

_MAX_QUEUED = 10_000  # pieces in the queue; a piece is a few hundred bytes
_MAX_BATCH = 200  # pieces in one write
_FULL_PIPE_PAUSE = 0.05  # seconds between two writes to a full non-blocking pipe
_DRAIN_TIMEOUT = 1.0  # seconds that the process waits for the thread at its end


class AtomicCounter:
    """A counter for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, number: int) -> None:
        """Increase the counter."""
        with self._lock:
            self._value += number

    def take(self) -> int:
        """Return the count, and reset it to 0."""
        with self._lock:
            value, self._value = self._value, 0
        return value

    @property
    def value(self) -> int:
        """The count."""
        return self._value


class LossyWriter:
    """Writes bytes in a separate thread. `send(data)` writes a part of the data, and returns its number of bytes.

    `lost` counts the lines that could not be written. After a failure, `notice(count)` is written first.
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
        self._unreported = AtomicCounter()  # lost lines without a notice so far
        self._mid_line = False  # the last written line is incomplete
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, piece: bytes) -> None:
        """Queue a piece, or drop it if the queue is full. Never waits, and never raises OSError."""
        if self._queue.qsize() >= self._most:
            self._lose(piece)
            return
        self._queue.put(piece)
        if self._thread is None:
            self._start()

    def drain(self, timeout: float = _DRAIN_TIMEOUT) -> bool:
        """Wait up to `timeout` seconds until every piece is written or dropped. False: some are still queued."""
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
            except Exception:  # raised by `notice`: the thread must survive
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
        """Write as much as possible, and return the rest."""
        if self._mid_line and data and self._sent(b"\n"):
            return data
        return self._sent(data)

    def _sent(self, data: bytes) -> bytes:
        while data:
            try:
                count = self._send(data)
            except BlockingIOError:  # the parent process made the pipe non-blocking
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
    """A replacement of sys.stdout or sys.stderr whose `write` neither fails nor waits. `lost` counts lines."""

    def __init__(self, stream: TextIO, lost: AtomicCounter, notice: Callable[[int], bytes] | None = None) -> None:
        self._stream = stream
        self._writer = LossyWriter(_sender(stream), lost, notice)
        self._lock = threading.Lock()
        self._begun = ""  # an incomplete line

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the replaced stream."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """True if the replaced stream is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """The file descriptor of the replaced stream."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always True."""
        return True

    def write(self, text: str) -> int:
        """Queue whole lines at once, and the rest at the next `flush`."""
        with self._lock:
            whole, end, self._begun = (self._begun + text).rpartition("\n")
            self._put(whole + end)
        return len(text)

    def flush(self) -> None:
        """Queue an incomplete line."""
        with self._lock:
            begun, self._begun = self._begun, ""
            self._put(begun)

    def drain(self) -> None:
        """Wait until everything is written, up to the timeout."""
        self.flush()
        self._writer.drain()

    def _put(self, text: str) -> None:
        if text:
            self._writer.put(text.encode(self.encoding, "backslashreplace"))


def _sender(stream: TextIO) -> Callable[[bytes], int]:
    """A function that writes to the descriptor of a stream. Its buffer would write data twice after an error."""
    try:
        return partial(os.write, stream.fileno())
    except (OSError, ValueError):  # a replacement in a test, without a file

        def send(data: bytes) -> int:
            stream.write(data.decode(errors="replace"))
            stream.flush()
            return len(data)

        return send


@contextlib.contextmanager
def lossy_output(lost: AtomicCounter, notice: Callable[[int], bytes]) -> Iterator[None]:
    """Replace stdout and stderr while the block runs. `lost` counts lines of stderr; `notice` reports them there."""
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
