"""A real Prometheus (Debian's package) on loopback that scrapes an agent, with the rules in fast motion."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grafana.objectives import Times
from grafana.panels import Query
from grafana.rules import document

MISSING = shutil.which("prometheus") is None
REASON = "prometheus is missing: apt-get install prometheus"
QUICK = Times(speed=60.0)  # a minute in the rules takes a second
VERY_QUICK = Times(speed=360.0)  # an hour takes ten seconds


@dataclass
class Prometheus:
    """The HTTP API of a running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def history(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """The series of the last seconds, one value per second."""
        now = time.time()
        answer = self._get("query_range", query=expression, start=str(now - seconds), end=str(now), step="1")
        found: list[dict[str, Any]] = answer["result"]
        return found

    def answers(self, query: Query, seconds: float = 0.0, window: str = "10s") -> list[dict[str, Any]]:
        """The answer to a panel's query, now or for the last seconds. Dashboard variables are replaced."""
        expression = re.sub(r"\$(agent|mode|process_type)", ".*", query.expression).replace("$__rate_interval", window)
        return self.history(expression, seconds) if seconds else self.query(expression)

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"}

    def unhealthy(self) -> list[str]:
        """The rules that failed to evaluate."""
        groups = self._get("rules")["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]

    def _get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:  # noqa: S310 - http on loopback
            return json.load(answer)["data"]


def eventually(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until the condition holds. Raise TimeoutError after the seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.2)


@contextlib.contextmanager
def running(folder: Path, target: str, times: Times = QUICK) -> Iterator[Prometheus]:
    """Run Prometheus in this folder. It scrapes `target` (host:port) each second and runs the rules at that speed."""
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml.safe_dump(document(times, "docs/operations/runbook.md")))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "assure-agent", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as process:  # noqa: S603 - a constant command
        try:
            prometheus = Prometheus(f"http://{address}")
            eventually(lambda: _answers(prometheus))
            yield prometheus
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(prometheus: Prometheus) -> bool:
    try:
        return bool(prometheus.query("up"))
    except (urllib.error.URLError, ConnectionError):
        return False
