"""Runs the measurements by turns, on pinned cores, and prints a table of medians."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

COUNT = int(os.environ.get("BENCH_COUNT", "1000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RESULTS = Path(__file__).with_name("results.json")
CORES = sorted(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sandbox() -> Iterator[tuple[str, int]]:
    """The simulator in a process of its own, on the last core; gives its URL and pid."""
    command = [sys.executable, "-c", "from agent.cli import main; main()", "sandbox", "--delay", "0s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {CORES[-1]})
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.terminate()


def cpu_of(pid: int) -> float:
    """Seconds of CPU of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(kind: str) -> dict[str, float]:
    """One run of one kind, against a fresh simulator."""
    with sandbox() as (url, server):
        command = [sys.executable, "-m", "bench.measured", kind, str(COUNT), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            os.sched_setaffinity(process.pid, {CORES[0]})
            output, _ = process.communicate()
            if process.returncode:
                sys.exit(process.returncode)
        took = json.loads(output)
        return {
            "lifecycles_per_second": COUNT / took["seconds"],
            "client_cpu_ms_per_lifecycle": 1000 * took["cpu"] / COUNT,
            "server_cpu_ms_per_lifecycle": 1000 * cpu_of(server) / COUNT,
        }


def main() -> None:
    """Measure, write bench/results.json, print the table."""
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "agent": []}
    for _ in range(ROUNDS):
        for kind, found in runs.items():
            found.append(measure(kind))
    medians = {
        kind: {key: statistics.median(run[key] for run in found) for key in found[0]} for kind, found in runs.items()
    }
    ratio = medians["agent"]["lifecycles_per_second"] / medians["bare"]["lifecycles_per_second"]
    results = {"count": COUNT, "rounds": ROUNDS, "medians": medians, "runs": runs, "agent_to_bare": ratio}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"{COUNT} uploads of 50 kB, concurrency 64, medians of {ROUNDS} rounds on pinned cores\n")
    print(f"{'':24}{'lifecycles/s':>14}{'client CPU ms':>16}{'server CPU ms':>16}")
    names = {"bare": "bare loop, no state", "agent": "agent, every step durable"}
    for kind, figures in medians.items():
        print(
            f"{names[kind]:24}{figures['lifecycles_per_second']:>14.1f}"
            f"{figures['client_cpu_ms_per_lifecycle']:>16.2f}{figures['server_cpu_ms_per_lifecycle']:>16.2f}"
        )
    print(f"\nagent / bare: {ratio:.2f}")


if __name__ == "__main__":
    main()
