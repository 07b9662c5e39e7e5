"""The driver of PostgreSQL. It is an extra, because SQLite needs none."""

import logging
from typing import Any

from agent.core.errors import StoreError

try:
    import asyncpg as _asyncpg
except ImportError:
    raise StoreError(
        "STATE_URL names a PostgreSQL database, and the driver asyncpg is not installed.",
        "pip install 'assure-agent[postgres]'",
    ) from None

logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)  # it logs the traceback of a try that it repeats
asyncpg: Any = _asyncpg
Connection = Any  # asyncpg.Connection
Pool = Any  # asyncpg.Pool
