"""Draw the main panels with data from a real Prometheus: `make picture`, five minutes.

The installed command runs against the sandbox in another process, under a load of both use cases and mixed outcomes.
Assure is slow, loses some answers, sends 429 for a while, and is later out for twenty seconds. The picture shows the
answers to the queries of the dashboards.
"""

import contextlib
import io
import itertools
import json
import random
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from PIL import Image

from grafana.overview import OVERVIEW
from grafana.panels import Panel
from grafana.privacy import PRIVACY
from grafana.prometheus_server import Prometheus, free_port, running
from verification.builders.settings import environment
from verification.processes import COMMAND, simulated

PICTURE = Path(__file__).parents[1] / "docs/images/panels.png"
SECONDS = 300.0
TITLES = (
    ("Outcomes per minute", "Outcome mix", "End to end, p50 p90 p99"),
    ("Time in a phase, p50", "Time in a phase, p90", "Time in a phase, p99"),
    ("Open requests by phase", "Calls by answer", "Open dossiers"),
)
_IMAGE = "specimens/passport-front.jpg"
_TROUBLE: tuple[Mapping[str, object], ...] = (
    {"operation": "createDossier", "kind": "reset-after", "rate": 0.02},
    {"operation": "setImages", "kind": "502", "rate": 0.03, "acts": False},
    {"operation": "*", "kind": "latency", "rate": 0.1, "seconds": 0.4},
)
_BUSY: Mapping[str, object] = {"operation": "*", "kind": "429", "rate": 0.2}
_OUTAGE: Mapping[str, object] = {"operation": "*", "kind": "503", "every": 1, "acts": False}
_INK, _GRID = "#24292f", "#e6e8eb"
_COLOURS = {
    "accepted": "#2f9e6b", "rejected": "#d6475c", "inconclusive": "#e8a33d", "canceled": "#8b95a1",
    "failed": "#7a4bc2", "expired": "#4c6fd1", "withdrawn": "#50b4d8", "held": "#b5651d",
    "done": "#2f9e6b", "refused": "#d6475c", "busy": "#e8a33d", "unknown": "#7a4bc2",
    "dossier": "#4c6fd1", "process": "#50b4d8", "images": "#2f9e6b", "verification": "#e8a33d",
    "result": "#d6475c", "deletion": "#7a4bc2",
    "p50": "#50b4d8", "p90": "#4c6fd1", "p99": "#7a4bc2",
}  # fmt: skip


def panels() -> list[list[Panel]]:
    """The panels of the picture, as the dashboards define them."""
    known = {panel.title: panel for panel in (*PRIVACY.panels(), *OVERVIEW.panels()) if panel.kind == "timeseries"}
    return [[known[title] for title in row] for row in TITLES]


class Load:
    """An agent with a simulated Assure, and its request files."""

    def __init__(self, folder: Path, assure: str, port: int) -> None:
        self._folder, self._assure = folder, assure
        self._chance = random.Random(7)  # noqa: S311 - a load that repeats
        self._numbers = itertools.count()
        self._environment = environment(
            folder,
            assure,
            IMAGES_DIR=str(Path(__file__).parents[1] / "images"),
            LISTEN=f"127.0.0.1:{port}",
            POLL_INTERVAL="2s",
            SCAN_INTERVAL="500ms",
            REQUEST_TIMEOUT="2s",
        )
        (folder / "specs").mkdir()

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        """Run the agent while the block runs."""
        with (
            (self._folder / "agent.log").open("w") as log,
            subprocess.Popen([*COMMAND, "run"], env=self._environment, stdout=log, stderr=log) as process,  # noqa: S603
        ):
            try:
                yield
            finally:
                process.terminate()
                process.wait(timeout=30)

    def ask(self) -> None:
        """Write one more request. Two of three are uploads. Some dossiers are kept for a while."""
        name = f"person-{next(self._numbers)}"
        retention = f"{self._chance.choice((0, 0, 0, 0, 5, 10, 15))}s"
        spec: dict[str, Any] = {"processType": "document", "retention": retention}
        if self._chance.random() < 0.67:
            spec["upload"] = {"documentId": 137, "images": {"front": _IMAGE}}
        else:
            spec["capture"] = {"redirectUrl": "https://shop.example/verified"}
        head = {"apiVersion": "assure-agent/v1", "kind": "VerificationRequest", "metadata": {"name": name}}
        (self._folder / "specs" / f"{name}.yaml").write_text(json.dumps({**head, "spec": spec}))

    def trouble(self, *rules: Mapping[str, object]) -> None:
        """Replace the fault rules of the simulated Assure."""
        for method in ("DELETE", "POST"):
            request = urllib.request.Request(  # noqa: S310 - http on loopback
                f"{self._assure}/sandbox/faults", data=json.dumps(rules).encode(), method=method
            )
            urllib.request.urlopen(request).close()  # noqa: S310 - http on loopback

    def ramp_up(self, seconds: float) -> None:
        """Write requests for this time, at varying rates and with a burst. Assure is busy for a while, and is later
        out."""
        begun = time.monotonic()
        now: object = None
        while (past := (time.monotonic() - begun) / seconds) < 1:
            for _ in range(self._chance.randrange(4)):
                self.ask()
            rules = (_OUTAGE,) if 0.65 < past < 0.72 else (_BUSY, *_TROUBLE) if 0.4 < past < 0.46 else _TROUBLE
            if rules is not now and rules != now:
                self.trouble(*rules)
                for _ in range(40 if now is None else 0):
                    self.ask()
                now = rules
            time.sleep(1.0)


def draw(answers: Sequence[Sequence[tuple[Panel, Mapping[str, list[tuple[float, float]]]]]], path: Path) -> None:
    """Write the picture. The answers are series by name, each with (seconds since the beginning, value)."""
    pyplot.rcParams.update({
        "font.size": 8.5, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": "#57606a",
        "ytick.color": "#57606a", "font.family": "DejaVu Sans",
    })  # fmt: skip
    figure, grid = pyplot.subplots(len(answers), len(answers[0]), figsize=(13, 8.6), dpi=100, squeeze=False)
    for axes_row, row in zip(grid, answers, strict=True):
        for axes, (panel, series) in zip(axes_row, row, strict=True):
            _draw(axes, panel, series)
    figure.tight_layout(h_pad=2.0, w_pad=1.6)
    drawn = io.BytesIO()
    figure.savefig(drawn, facecolor="white")
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def _draw(axes: Axes, panel: Panel, series: Mapping[str, list[tuple[float, float]]]) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", pad=8)
    known = [*_COLOURS, *series]
    shown = {name: series[name] for name in sorted(series, key=known.index) if any(y > 0 for _, y in series[name])}
    times = sorted({at for points in shown.values() for at, _ in points})
    rows = [[dict(points).get(at, 0.0) for at in times] for points in shown.values()]
    if panel.share:
        totals = [sum(column) or 1.0 for column in zip(*rows, strict=True)]
        rows = [[value / total for value, total in zip(row, totals, strict=True)] for row in rows]
    colours = [_COLOURS.get(name, "#4c6fd1") for name in shown]
    if panel.stacked:
        axes.stackplot(times, rows, labels=list(shown), colors=colours, alpha=0.85, linewidth=0)
    else:
        for (name, points), colour in zip(shown.items(), colours, strict=True):
            axes.plot(*zip(*points, strict=True), label=name, color=colour, linewidth=1.6)
    _style(axes, panel)
    if len(shown) > 1:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=4, frameon=False, fontsize=8,
            handlelength=1.0, handleheight=0.8, columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip


def _style(axes: Axes, panel: Panel) -> None:
    axes.set_xlim(0, SECONDS)
    axes.set_ylim(0, 1.08 * axes.dataLim.y1)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(length=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[6]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at / 60:g} min" if at else ""))
    if panel.unit == "percentunit":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        unit = {"s": " s", "reqps": "/s"}.get(panel.unit, "")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))


def asked(prometheus: Prometheus, panel: Panel, begun: float) -> dict[str, list[tuple[float, float]]]:
    """The series of a panel since `begun`, by the names in its legend."""
    found: dict[str, list[tuple[float, float]]] = {}
    for query in panel.queries:
        for one in prometheus.answers(query, time.time() - begun, "30s"):
            name = query.legend
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            found[name] = [(at - begun, float(value)) for at, value in one["values"] if value != "NaN"]
    return found


def main() -> None:
    """Run the load and write the picture."""
    sandbox = {"delay": "1s-6s", "outcomes": "accepted=14,rejected=3,inconclusive=2,failed=1"}
    with tempfile.TemporaryDirectory() as name, simulated(sandbox) as assure:
        folder, port = Path(name), free_port()
        load = Load(folder, assure, port)
        with load.agent(), running(folder / "prometheus", f"127.0.0.1:{port}") as prometheus:
            begun = time.time()
            load.ramp_up(SECONDS)
            draw([[(panel, asked(prometheus, panel, begun)) for panel in row] for row in panels()], PICTURE)


if __name__ == "__main__":
    main()
