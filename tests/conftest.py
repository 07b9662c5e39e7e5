"""Which tests are slow: `make test-fast` leaves them out, `make test` runs them all."""

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
# Whole agents, browsers, proofs, and files whose tests mostly wait for processes of their own.
_SLOW = (
    "acceptance/",
    "browser/",
    "proof/",
    "sandbox/test_vendor_openapi.py",
    "surface/test_page_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in one of these folders and files."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.path.relative_to(_HERE).as_posix().startswith(_SLOW):
            item.add_marker(pytest.mark.slow)
