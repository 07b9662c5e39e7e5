"""The world of a test, and the list of slow tests: `make test-fast` leaves them out."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.fixtures import begin, folder, shared_authorities, world
from tests.support.postgres_server import database_server, on_each_engine, postgres_server

__all__ = ["begin", "database_server", "folder", "postgres_server", "shared_authorities", "world"]

settings.register_profile("any-machine", deadline=None)  # no test fails because the machine is slow
settings.load_profile("any-machine")

_HERE = Path(__file__).parent
# Whole agents and simulators, browsers, verification, and tests of the store that sweep or fill a disk.
SLOW = (
    "acceptance/",
    "browser/",
    "cli/",
    "controller/",
    "admission/",
    "daemon/",
    "system/",
    "source/revisions/test_killed.py",
    "platform/",
    "verification/",
    "sandbox/",
    "steps/",
    "store/test_secure_delete.py",
    "store/test_disk_full.py",
    "store/test_query_plans.py",
    "store/contract/test_stateful.py",
    "store/test_tampering",
    "store/test_unverified_columns.py",
    "web/test_status_page_browser.py",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_each_engine(metafunc)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in one of these folders and files."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.path.relative_to(_HERE).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
