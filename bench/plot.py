"""`python -m bench.plot`: draws docs/images/performance.png from results.json, with promises, aims and growth."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no display is needed, and matplotlib does not search for one
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image as Picture

from bench.report import RESULTS

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "performance.png"

_PAPER, _INK, _FAINT = "#ffffff", "#1c2128", "#d0d7de"  # its own background is legible on light and dark pages
_GOOD, _BAD, _OTHER = "#1f6feb", "#d1242f", "#8250df"
_MOST = 1.6  # of an aim. A longer bar is cut and shows its figure
_STYLE: Any = {
    "figure.facecolor": _PAPER,
    "axes.facecolor": _PAPER,
    "savefig.facecolor": _PAPER,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
}

Results = dict[str, Any]


def draw(results: Results) -> None:
    """Draw all results."""
    with mpl.rc_context(_STYLE):
        figure = plt.figure(figsize=(12.5, 7.6), layout="constrained")
        left, right = figure.subfigures(1, 2).flat
        _promises(left.subplots(), results)
        (first, second), (third, fourth) = right.subplots(2, 2)
        _waiting(first, results["waiting"])
        _memory(second, results["memory"])
        _store(third, results["store"])
        _restart(fourth, results["restart"])
        figure.savefig(PICTURE, dpi=100)
        plt.close(figure)
    with Picture.open(PICTURE) as drawn:
        drawn.convert("RGB").quantize(64).save(PICTURE, optimize=True)  # a third of the size


def _promises(axes: Axes, results: Results) -> None:
    """Draw every ratio with an aim, as a part of the aim."""
    found = [
        (section, ratio) for section, one in results.items() for ratio in one["ratios"] if ratio["aim"] is not None
    ]
    for place, (section, ratio) in enumerate(reversed(found)):
        part = ratio["value"] / ratio["aim"]
        met = part <= 1.0 if ratio["most"] else part >= 1.0
        axes.barh(place, min(part, _MOST), 0.34, color=_GOOD if met else _BAD, hatch=None if met else "//")
        kept = "at most" if ratio["most"] else "at least"
        said = f"{ratio['value']:.3g}, {kept} {ratio['aim']:g}{'' if met else ': missed'}"
        axes.plot([1.0, 1.0], [place - 0.26, place + 0.17], color=_INK, linewidth=1.5)
        axes.text(0.0, place + 0.24, f"{section}: {ratio['name']}", fontsize=8)
        axes.text(max(min(part, _MOST), 1.0) + 0.03, place, said, va="center", fontsize=8)
    axes.set(yticks=[], xlim=(0.0, 2.1), xlabel="part of the aim (black line: the aim)", title="Promises")
    axes.set_xticks([0.0, 0.5, 1.0, 1.5])
    axes.spines["left"].set_visible(False)


def _waiting(axes: Axes, section: Results) -> None:
    rows = [(_number(label), figures) for label, figures in section["rows"] if label.endswith(" wait") and figures[0]]
    sizes = [size for size, _ in rows]
    axes.plot(sizes, [figures[3] for _, figures in rows], "o-", color=_GOOD, label="1 % finish")
    axes.plot(sizes, [figures[4] for _, figures in rows], "s--", color=_OTHER, label="nothing finishes")
    axes.set(xscale="log", yscale="log", xlabel="requests that wait", title="CPU of an interval, ms")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.legend()


def _memory(axes: Axes, section: Results) -> None:
    rows = [(_number(label), figures[0]) for label, figures in section["rows"] if " requests wait" in label]
    peaks = [(_number(label), figures[0]) for label, figures in section["rows"] if " uploads of " in label]
    labels = [f"{count:,}\nwait" for count, _ in rows] + [f"{count}\nuploads" for count, _ in peaks]
    bars = axes.bar(labels, [size for _, size in rows + peaks], color=[_GOOD] * len(rows) + [_OTHER] * len(peaks))
    axes.bar_label(bars, fmt="%.0f")
    axes.set(title="Memory, MB; uploads of 5 MB")


def _store(axes: Axes, section: Results) -> None:
    (ceiling,) = (figures[0] for label, figures in section["rows"] if label.startswith("ceiling"))
    engines = {
        "SQLite": (" at a time, each durable", -0.2, _GOOD),
        "PostgreSQL": (" at a time, on PostgreSQL", 0.2, _BAD),
    }
    for engine, (ending, offset, color) in engines.items():
        rows = {_number(label): figures[0] for label, figures in section["rows"] if label.endswith(ending)}
        bars = axes.bar(
            [place + offset for place in range(len(rows))], [*rows.values()], 0.38, color=color, label=engine
        )
        axes.bar_label(bars, fmt="{:,.0f}")
        if rows:
            axes.set_xticks(range(len(rows)), [f"{count}" for count in rows])
    axes.axhline(ceiling, color=_OTHER, linestyle="--", label="SQLite, all in one transaction")
    axes.set(title="Durable transitions per second", xlabel="at a time", ylim=(0, 1.4 * ceiling))
    axes.legend()


def _restart(axes: Axes, section: Results) -> None:
    rows = dict(section["rows"])
    shown = {"start to the first call, s": "to first call", "get NAME, CPU s": "get", "plan, CPU s": "plan"}
    for offset, column in ((-0.2, 0), (0.2, 1)):
        values = [rows[label][column] for label in shown]
        places = [place + offset for place in range(len(values))]
        bars = axes.bar(places, values, 0.38, color=(_GOOD, _OTHER)[column], label=section["columns"][column])
        axes.bar_label(bars, fmt="%.2f")
    axes.set_xticks(range(len(shown)), list(shown.values()))
    axes.set(title="Restart, seconds")
    axes.legend()


def _number(label: str) -> int:
    found = re.match(r"[\d,]+", label)
    assert found is not None, label
    return int(found[0].replace(",", ""))


if __name__ == "__main__":
    draw(json.loads(RESULTS.read_text()))
