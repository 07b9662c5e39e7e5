"""The command line imports no library that the command does not need: imports were half of the time of `get`."""

import subprocess
import sys

HEAVY = {
    "aiohttp", "apscheduler", "dulwich", "httpx", "jinja2", "numpy", "prometheus_client", "sqlite_utils", "starlette",
    "uvicorn", "uvloop", "watchfiles", "yaml",
}  # fmt: skip


def test_the_command_line_starts_without_the_libraries_of_the_agent() -> None:
    script = "import sys, agent.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
