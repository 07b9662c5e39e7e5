"""Golden files: expected outputs as text, in tests/golden. `make golden` writes them after a change of wording."""

import difflib
import os
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden"
_VARIABLE = (  # parts of an output that differ in each run
    (r"sha256:[0-9a-f]{64}|\b[0-9a-f]{64}\b", "HASH"),
    (r"\b[0-9a-f]{32}\b", "TRACE"),
    (r"\b[0-9a-f]{24}\b", "UID"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"\bh-[0-9a-f]{6}\b", "HOLD"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"TIME \((in )?[0-9a-z. ]+?( ago)?\)", "TIME (DISTANCE)"),
    (r"http://127\.0\.0\.1:\d{4,5}", "URL"),
    (r"\bevent \d+\b", "event N"),
    (r"[\d,.]+ MiB", "SIZE"),
    (r"\bassure-agent \d+\.\d+\.\d+", "assure-agent VERSION"),
    (r"^sqlite .*$", "sqlite CHECK"),
)


def stable(output: str, folders: dict[str, Path]) -> str:
    """The output without the parts that differ in each run. `folders` maps a placeholder to a path."""
    for name, folder in folders.items():
        output = output.replace(str(folder), name)
    for pattern, placeholder in _VARIABLE:
        output = re.sub(pattern, placeholder, output, flags=re.MULTILINE)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in output.splitlines()) + "\n"


def difference(name: str, actual: str) -> str:
    """The difference between the golden file and an output; empty if they agree. WRITE_GOLDEN=1 writes the file."""
    file = FOLDER / f"{name}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(actual)
    expected = file.read_text() if file.exists() else ""
    return "\n".join(difflib.unified_diff(expected.splitlines(), actual.splitlines(), file.name, "actual", lineterm=""))
