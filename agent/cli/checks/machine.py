"""Checks of the machine: watches of files (inotify), the time zone, and the ports of the listeners."""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from watchfiles import watch

from agent.cli.checks import Check, problem, warning
from agent.core.errors import SettingsError
from agent.platform.settings import Settings
from agent.web.server import bind_listener

_INOTIFY_HINT = (
    "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl; "
    "until then the agent finds new files every SCAN_INTERVAL"
)


def watches(path: Path) -> Check:
    """The system lets this user watch the source folder: the check begins such watches, and ends them."""
    name = "watches"
    if not path.is_dir():
        return Check(name=name, message=f"{path} does not exist, so it cannot be watched yet")
    ended = threading.Event()
    ended.set()
    try:
        for _ in watch(path, stop_event=ended):
            break
    except Exception as error:  # watchfiles has errors of its own; each means that the folder is not watched
        cause = getattr(error, "strerror", None) or str(error)
        return warning(name, f"the agent cannot watch {path} for changes: {cause}", _INOTIFY_HINT)
    return Check(name=name, message=f"this user can watch {path} for changes")


def time_zone(environment: Mapping[str, str] = os.environ) -> Check:
    """The TZ of the environment. The agent itself uses UTC everywhere."""
    name, zone = "time zone", environment.get("TZ", "").removeprefix(":")
    message = "logs, output and the days of the start budget are in UTC"
    if zone and "/" in zone and not zone.startswith("/"):
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError):
            message = f"TZ is {zone}, which this machine does not know: other programs show UTC under that name"
            return warning(name, message, "correct TZ, or install the package tzdata")
    return Check(name=name, message=message)


def ports(settings: Settings, running: bool) -> Iterator[Check]:
    """Nothing else uses the ports of LISTEN and EVENTS_LISTEN. The check binds them for a moment.

    `running`: the agent runs on this machine.
    """
    listeners = {"LISTEN": settings.address}
    if settings.events_secret.get_secret_value() or settings.source_hook_secret.get_secret_value():
        listeners["EVENTS_LISTEN"] = settings.events_address
    for setting, (host, port) in listeners.items():
        name = f"port of {setting}"
        if running:
            yield Check(name=name, message=f"{host}:{port} belongs to the running agent")
            continue
        try:
            bind_listener(host, port, setting).close()
        except SettingsError as error:
            yield problem(name, str(error).rstrip("."), error.hint)
            continue
        yield Check(name=name, message=f"{host}:{port} is free" if port else f"the system chooses a port of {host}")
