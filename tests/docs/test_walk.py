"""The walk in docs/architecture.md names functions that exist, and is short. `make walk` writes it."""

import importlib
import re
from functools import reduce
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/architecture.md"
MOST = 45  # functions from a file to its first call to Assure
LINE = re.compile(r"^\d+\. `([\w.]+)`: `([\w.]+)`")


def test_each_function_of_the_walk_exists_and_the_counts_hold() -> None:
    part = PAGE.read_text().split("<!-- begin walk -->")[1].split("<!-- end walk -->")[0]
    found = [match.groups() for line in part.splitlines() if (match := LINE.match(line))]
    for module, name in found:
        assert callable(reduce(getattr, name.split("."), importlib.import_module(module))), name
    assert f"\n{len(found)} functions in {len({module for module, _ in found})} files.\n" in part
    assert found[-1] == ("agent.assure.http.connection", "Connection.begin")
    assert len(found) <= MOST
