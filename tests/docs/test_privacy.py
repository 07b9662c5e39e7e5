"""Every test that the documents on privacy and threats name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("docs/security/privacy.md", "docs/security/threats.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def functions_of(path: Path) -> set[str]:
    """The names of the functions in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_a_document_names_exists(document: str) -> None:
    named = NAMED.findall((ROOT / document).read_text())
    assert len(named) > 20
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and test not in functions_of(ROOT / file))
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_row_of_a_table_names_a_test(document: str) -> None:
    rows = [line for line in (ROOT / document).read_text().splitlines() if line.startswith("| ")]
    assert [row for row in rows[1:] if not NAMED.search(row)] == []


def test_every_path_of_a_test_is_recognized() -> None:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        assert text.count("tests/") == len(NAMED.findall(text)), document


def test_the_readme_links_both_documents() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"({document})" in readme for document in DOCUMENTS)
