"""Instruction counts by callgrind: of each thread, and of the C functions that a thread calls.

A measured child calls `counting` around its work. It is a plain call without callgrind.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.process import child
from bench.report import Skipped

_OUT = "BENCH_CALLGRIND"  # the folder for the counts of a child, if callgrind runs it
_NAME = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?")


@dataclass(frozen=True, slots=True)
class Function:
    """A C function and its library."""

    name: str
    library: str


@dataclass(frozen=True, slots=True)
class Thread:
    """The instructions of one thread. `arcs`: those of every function with all that it calls, by caller and callee."""

    total: int
    arcs: dict[tuple[Function, Function], int]

    def inside(self, called: str, library: str, caller: str = "") -> int:
        """The instructions inside calls that enter functions of these names and this library from other functions.

        `caller` limits the functions that make the calls. Each argument is a pattern.
        """

        def matches(function: Function) -> bool:
            return re.match(called, function.name) is not None and re.search(library, function.library) is not None

        return sum(
            cost
            for (source, target), cost in self.arcs.items()
            if matches(target) and not matches(source) and re.match(caller, source.name)
        )


def count(module: str, *arguments: str) -> list[Thread]:
    """Run `python -m MODULE ARGUMENTS` under callgrind. Return its threads, the main thread first.

    Raises Skipped if valgrind is not installed.
    """
    if shutil.which("valgrind") is None:
        raise Skipped("valgrind is not installed. Try: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        options = ("--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--compress-pos=no")
        valgrind = ("valgrind", "-q", *options, f"--callgrind-out-file={folder}/threads")
        child(module, *arguments, before=("env", f"{_OUT}={folder}", *valgrind))
        return [_read(path) for path in sorted(Path(folder).glob("threads-*"))]


@contextlib.contextmanager
def counting() -> Iterator[None]:
    """Count the instructions of all threads inside the block."""
    start_counting()
    yield
    stop_counting()


def start_counting() -> None:
    """Count from now on."""
    _switch("on")


def stop_counting() -> None:
    """Stop the count."""
    _switch("off")


def _switch(state: str) -> None:
    """Switch the instrumentation. Valgrind receives the command only while this process executes code."""
    if _OUT not in os.environ:
        return
    command = ["callgrind_control", "-i", state, str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as switch:
        while switch.poll() is None:
            time.sleep(0.01)
        output, _ = switch.communicate()
    if switch.returncode:
        sys.exit(f"{' '.join(command)} ended with {switch.returncode}. {output}")


def _read(path: Path) -> Thread:
    """Parse the file of one thread."""
    names: dict[tuple[str, str], str] = {}
    current = {"ob": "", "fn": "", "cob": "", "cfn": ""}
    arcs: dict[tuple[Function, Function], int] = {}
    total = 0
    lines = iter(path.read_text().splitlines())
    for line in lines:
        if found := _NAME.fullmatch(line):
            called, kind, number, name = found.groups()
            if name:
                names[kind, number] = name
            current[called + kind] = names[kind, number]
        elif line.startswith("calls="):
            source = Function(current["fn"], current["ob"])
            target = Function(current["cfn"], current["cob"] or current["ob"])
            arcs[source, target] = arcs.get((source, target), 0) + int(next(lines).split()[-1])
            current["cob"] = ""
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    return Thread(total, arcs)
