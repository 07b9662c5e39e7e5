"""Structured logs: one line per event, JSON or text, to stderr. What is not on the list of keys is not printed [I6]."""

import logging
import sys
from typing import Any, cast

import structlog

# Keys that may be logged. None of them can hold a personal value; names and paths are not among them.
ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "uid", "phase", "before", "outcome", "state", "reason", "hold_id", "effect",
        "result", "status", "trouble", "cause", "trace_id", "seconds", "generation", "attempt", "files", "refused",
        "waiting", "address", "url", "version", "count", "error", "hint", "due", "setting", "signal", "dossiers",
        "unclaimed", "endpoint", "detail", "checkpoint", "events", "digest",
    }
)  # fmt: skip


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {
        key: value if key in ALLOWED else "[redacted]" for key, value in event.items() if value is not None
    }  # what is not known is left out


def configure(log_format: str, level: str) -> None:
    """Set the format (auto, json, text) and the least level for the whole process."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if text else _json_renderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("uvicorn", "uvicorn.error", "apscheduler", "asyncio", "aiohttp", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # libraries would quote what they handle


def _json_renderer() -> Any:
    return structlog.processors.JSONRenderer()


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger as it is configured now; bound, or each line would put it together anew, written or not."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger().bind())
