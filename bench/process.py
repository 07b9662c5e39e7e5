"""Processes on pinned cores: the measured process on the first core, the simulator on the last."""

import contextlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CORES = sorted(os.sched_getaffinity(0))
_TICK = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sandbox(*options: str) -> Iterator[tuple[str, int]]:
    """Run the simulator on the last core. Yield its URL and pid."""
    command = [sys.executable, "-c", "from agent.cli import main; main()", "sandbox", "--delay", "0s", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {CORES[-1]})
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


def child(module: str, *arguments: str, before: Sequence[str] = (), python: str = sys.executable) -> dict[str, float]:
    """Run `python -m MODULE ARGUMENTS` on the first core. Its last line of output is JSON (`report`).

    `before`: a command that runs this command.
    """
    command = [*before, python, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {CORES[0]})
        output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}.")
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def report(**figures: float) -> None:
    """Print the last line of a child."""
    print(json.dumps(figures))


def cpu() -> float:
    """The CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_of(pid: int) -> float:
    """The CPU seconds of another process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def cpu_of_tree(pid: int) -> float:
    """The CPU seconds so far of a process and of all its children, including those that ended."""
    return sum(processes_of_tree(pid).values())


def processes_of_tree(pid: int) -> dict[int, float]:
    """A process and all its children, with their CPU seconds so far."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            number = int(path.parent.name)
            parents[number] = int(fields[1])
            spent[number] = sum(map(int, fields[11:15])) / _TICK
    tree = {pid}
    while more := {one for one, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return {one: spent[one] for one in tree}


def rss(pid: int | str = "self") -> int:
    """The memory in use of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak(pid: int) -> int:
    """The peak memory of a process, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def median(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
