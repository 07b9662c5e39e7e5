"""Structured logs: one line per event, JSON or text, to stderr. What is not on the list of keys is not printed [I6]."""

import logging
import sys
from typing import Any, cast

import structlog

from agent.platform.nonblocking_output import Count

# Keys that may be logged. None of them can hold a personal value: of paths, only those of the settings are among them.
# `sender` is the account of an operator on this machine, never a person who is verified.
ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "uid", "phase", "before", "outcome", "state", "reason", "hold_id", "effect",
        "result", "status", "trouble", "cause", "trace_id", "seconds", "generation", "attempt", "files", "refused",
        "waiting", "address", "url", "version", "count", "error", "hint", "due", "setting", "signal", "dossiers",
        "unclaimed", "checkpoint", "events", "digest", "source", "images", "store", "starts", "command", "sender",
        "since", "endpoint", "detail",
    }
)  # fmt: skip


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {
        key: value if key in ALLOWED else "[redacted]" for key, value in event.items() if value is not None
    }  # what is not known is left out


lost = Count()  # lines that could not be written since the process began


class _Harmless(structlog.BoundLoggerBase):
    """A logger whose methods never raise: a line that cannot be rendered or written is counted as lost."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *args: Any, **keys: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *args, **keys)
        except structlog.DropEvent:
            return None
        except Exception:
            lost.add(1)


def configure(log_format: str, level: str) -> None:
    """Set the format (auto, json, text) and the least level for the whole process."""
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
        wrapper_class=type("HarmlessLogger", (filtering, _Harmless), {}),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("uvicorn", "uvicorn.error", "apscheduler", "asyncio", "aiohttp", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # libraries would quote what they handle


def _json_renderer() -> Any:
    return structlog.processors.JSONRenderer()


def lines_lost(count: int) -> bytes:
    """The line that says how many were lost before it, as the configured format has it."""
    event: Any = {
        "event": "log lines were lost",
        "count": count,
        "hint": "look at the file system or the reader of the log; the work went on",
    }
    for processor in structlog.get_config()["processors"]:
        event = processor(None, "warning", event)
    return f"{event}\n".encode(errors="backslashreplace")


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger as it is configured now; bound, or each line would put it together anew, written or not."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger().bind())
