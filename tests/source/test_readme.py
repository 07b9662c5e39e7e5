"""docs/reference/request-file.md describes the request file, and nothing else."""

import re
from pathlib import Path

from agent.core.field_types import OUR_ANNOTATIONS
from agent.source.error_messages import fields
from agent.source.loader import load

PAGE = (Path(__file__).parents[2] / "docs/reference/request-file.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def test_every_field_is_documented_and_every_documented_field_exists() -> None:
    documented = [row for row in ROWS if not row.startswith("assure-agent/")]
    assert sorted(documented) == sorted(".".join(field) for field in fields())


def test_every_agent_annotation_is_documented() -> None:
    assert [row for row in ROWS if row.startswith("assure-agent/")] == list(OUR_ANNOTATIONS)


def test_every_example_is_good() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        loaded = load(example.encode(), "request-file.md")
        assert loaded.faults == ()
        assert len(loaded.documents) == 1
