"""What a command does not need, it does not wait for: half of the time of `get` was imports of others."""

import subprocess
import sys

HEAVY = {
    "aiohttp", "apscheduler", "dulwich", "httpx", "jinja2", "numpy", "prometheus_client", "sqlite_utils", "starlette",
    "uvicorn", "uvloop", "watchfiles", "yaml",
}  # fmt: skip


def test_the_command_line_begins_without_the_libraries_of_the_agent() -> None:
    script = "import sys, agent.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
