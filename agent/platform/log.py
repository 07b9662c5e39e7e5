"""Structured logs on stderr: one line per event, JSON or text. Values of keys that are not listed are redacted [I6]."""

import logging
import sys
from typing import Any, cast

import structlog

from agent.platform.nonblocking_output import AtomicCounter

# Keys that may be logged. None of them contains personal data: paths are those of the settings only.
# `sender` is the account of an operator on this machine, never an end user.
ALLOWED_KEYS = frozenset(
    {
        "event", "level", "timestamp", "uid", "phase", "before", "outcome", "state", "reason", "hold_id", "effect",
        "result", "status", "trouble", "cause", "trace_id", "seconds", "generation", "attempt", "files", "refused",
        "waiting", "address", "url", "version", "count", "error", "hint", "due", "setting", "signal", "dossiers",
        "unclaimed", "checkpoint", "events", "digest", "source", "images", "store", "starts", "command", "sender",
        "since", "endpoint", "detail", "line", "column", "revision", "commit", "branch", "path",
    }
)  # fmt: skip


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {
        key: value if key in ALLOWED_KEYS else "[redacted]" for key, value in event.items() if value is not None
    }  # None means unknown, and is omitted


lost_lines = AtomicCounter()  # lines that this process could not write
ended_lives = AtomicCounter()  # lives of this process on a database that another replica ended


class _NonRaisingLogger(structlog.BoundLoggerBase):
    """A logger whose methods never raise. It counts lines that cannot be rendered or written."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *args: Any, **keys: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *args, **keys)
        except structlog.DropEvent:
            return None
        except Exception:
            lost_lines.add(1)


def configure(log_format: str, level: str) -> None:
    """Set the format (auto, json, text) and the minimum level for the whole process."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if text else _json_renderer()
    filtering: Any = structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            renderer,
        ],
        wrapper_class=type("NonRaisingLogger", (filtering, _NonRaisingLogger), {}),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("uvicorn", "uvicorn.error", "apscheduler", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # messages of libraries may contain personal data


def _json_renderer() -> Any:
    return structlog.processors.JSONRenderer()


def lines_lost(count: int) -> bytes:
    """A line in the configured format that reports `count` lost lines."""
    event: Any = {
        "event": "log lines were lost",
        "count": count,
        "hint": "check the file system and the reader of the log; the agent continued",
    }
    for processor in structlog.get_config()["processors"]:
        event = processor(None, "warning", event)
    return f"{event}\n".encode(errors="backslashreplace")


def logger() -> structlog.typing.FilteringBoundLogger:
    """The configured logger. It is bound, because an unbound logger is built again for each line."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger().bind())
