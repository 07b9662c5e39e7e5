"""The result of a section: rows of figures, and the important ratios with their aims."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECTIONS = ("lifecycle", "peers", "instructions", "waiting", "source", "git", "restart", "memory", "store", "replicas")
RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a measurement. `long` selects the sizes of the promise. The short form takes a minute for each
    section."""

    rounds: int = 5
    long: bool = False


class Skipped(Exception):
    """This machine cannot measure a section. The message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A figure that proves a promise. `aim`: the value to reach. `most`: the aim is an upper limit.

    `spread`: the lowest and the highest value of the rounds.
    """

    name: str
    value: float
    aim: float | None = None
    most: bool = False
    spread: Sequence[float] = ()

    @classmethod
    def of_rounds(cls, name: str, values: Sequence[float], aim: float | None = None, most: bool = False) -> "Ratio":
        """The median of the ratios of the rounds. Each round runs its parts one after the other."""
        spread = (min(values), max(values))
        return cls(name=name, value=statistics.median(values), aim=aim, most=most, spread=spread)

    @property
    def met(self) -> bool:
        """True if the ratio reaches its aim or has none."""
        return self.aim is None or (self.value <= self.aim if self.most else self.value >= self.aim)

    def __str__(self) -> str:
        aim = "" if self.aim is None else f"  ({'at most' if self.most else 'at least'} {self.aim:g})"
        spread = f" ({self.spread[0]:.2f} to {self.spread[1]:.2f})" if self.spread else ""
        return f"{self.name}: {self.value:.2f}{spread}{aim}{'' if self.met else '  MISSED'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`columns` name the figures with their units. Each row has a label and as many figures. None: not measured."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    ratios: Sequence[Ratio] = ()

    def __str__(self) -> str:
        width = max([len(label) for label, _ in self.rows] + [24])
        sizes = [max(len(column), 9) for column in self.columns]
        head = " ".join(f"{column:>{size}}" for column, size in zip(self.columns, sizes, strict=True))
        lines = [f"{self.title}\n", f"{'':{width}} {head}"]
        for label, figures in self.rows:
            shown = " ".join(f"{_shown(figure):>{size}}" for figure, size in zip(figures, sizes, strict=True))
            lines.append(f"{label:{width}} {shown}")
        return "\n".join([*lines, "", *map(str, self.ratios)])

    def as_json(self) -> dict[str, Any]:
        """The form in results.json."""
        return asdict(self)


def markdown(section: dict[str, Any]) -> str:
    """A section of results.json as a table, followed by the ratios and the command that measures it."""
    lines = [f"| {section['title']} | {' | '.join(section['columns'])} |", "|---|" + "---:|" * len(section["columns"])]
    lines += [f"| {label} | {' | '.join(map(_shown, figures))} |" for label, figures in section["rows"]]
    ratios = [f"- {Ratio(**ratio)}" for ratio in section["ratios"]]
    long = " LONG=1" if section["long"] else ""
    return "\n".join([*lines, "", *ratios, "", f"`make bench SECTIONS={section['name']}{long}`"])


def _shown(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}" if abs(figure) < 10 else f"{figure:.1f}"
