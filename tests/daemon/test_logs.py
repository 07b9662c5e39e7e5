"""Every logged key is on the list of keys, so that no log line has `[redacted]`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from agent.platform.log import ALLOWED_KEYS

AGENT = Path(__file__).parents[2] / "agent"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def logged() -> Iterator[tuple[str, str]]:
    """Every key of every call of a logger, with its position in the code."""
    for path in AGENT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _logs(node.func):
                yield from ((keyword.arg or "", f"{path.name}:{node.lineno}") for keyword in node.keywords)


def _logs(call: ast.Attribute) -> bool:
    return call.attr in LEVELS and "log" in ast.unparse(call.value)


def test_every_key_that_is_logged_may_be() -> None:
    """[I6]"""
    keys = list(logged())
    assert len(keys) > 30
    assert [(key, where) for key, where in keys if key and key not in ALLOWED_KEYS] == []
