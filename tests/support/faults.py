"""Scripted faults of the sandbox."""

from typing import Any

from agent.sandbox.faults.rules import Kind, Rule


def rule(operation: str, kind: str, **more: Any) -> Rule:
    """A fault of the first such call, unless `more` selects others."""
    if not more.keys() & {"nth", "every", "rate", "count"}:
        more["nth"] = 1
    return Rule(operation=operation, kind=Kind(kind), **more)
