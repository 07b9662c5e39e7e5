"""The command line imports no library that the command does not need: imports were most of the CPU time of `get`."""

import subprocess
import sys

import pytest

LIBRARIES = {
    "aiohttp", "apscheduler", "asyncio", "cryptography", "dotenv", "dulwich", "httptools", "httpx", "jinja2",
    "multipart", "numpy", "orjson", "pathspec", "prometheus_client", "pybase64", "pydantic", "pydantic_settings",
    "pygments", "rich", "sqlite_utils", "starlette", "structlog", "typer", "uvicorn", "uvloop", "watchfiles", "yaml",
}  # fmt: skip
CORE = {"asyncio", "dotenv", "orjson", "pydantic", "pydantic_settings", "typer"}  # pydantic_settings needs asyncio


def imported(code: str) -> set[str]:
    """The libraries that a new process imports with this code."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return LIBRARIES & set(done.stdout.splitlines()[-1].split())


def core_modules(code: str) -> set[str]:
    """The modules of the core that a new process imports with this code."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    prefix = "agent.core."
    return {name.removeprefix(prefix) for name in done.stdout.splitlines()[-1].split() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("command", "libraries"),
    [
        ("get", CORE),
        ("explain", CORE),
        ("logs", CORE),
        ("diff", CORE),
        ("version", CORE),
        ("help", {"typer"}),
        ("schema", {"typer"}),
        ("approve", CORE),
        ("resolve", CORE),
    ],
)
def test_a_command_imports_only_the_libraries_that_it_uses(command: str, libraries: set[str]) -> None:
    assert imported(f"from agent.cli.app import create_app; create_app([{command!r}])") == libraries


def test_get_of_a_missing_store_imports_nothing_else() -> None:
    code = "import contextlib, agent.cli.app as a\nwith contextlib.suppress(SystemExit): a.create_app(['get'])(['get'])"
    assert imported(code) == CORE


def test_get_imports_the_record_without_the_state_machine() -> None:
    with_store = "from agent.cli.app import create_app; create_app(['get']); import agent.store.sqlite.readonly"
    assert core_modules(with_store) == {
        "admission", "assure_types", "audit", "conditions", "duration", "effect", "errors", "fast_replace",
        "personal_data", "policy", "record", "reference", "source_revision", "timestamps",
    }  # fmt: skip


def test_the_ports_import_only_dataclasses_and_protocols() -> None:
    assert core_modules("import agent.ports") == set()


def test_the_agent_starts_without_templates_and_without_the_client_of_sinks() -> None:
    unneeded = {"httpx", "jinja2"}
    assert imported("import agent.daemon.agent") & unneeded == set()
