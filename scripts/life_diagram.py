"""Draws the life of a request from the transition table: a box for each phase, an arrow for each change of phase."""

from collections.abc import Iterable, Mapping
from html import escape

LIGHT = {"ink": "#1c2128", "faint": "#59636e", "box": "#f6f8fa", "line": "#8b949e", "go": "#1f6feb", "back": "#bc4c00"}
DARK = {"ink": "#e6edf3", "faint": "#9198a1", "box": "#161b22", "line": "#6e7681", "go": "#58a6ff", "back": "#f0883e"}
_WIDTH, _LEFT, _BOX, _HEIGHT, _STEP, _TOP = 760, 200, 360, 46, 80, 54
_LANE, _APART = 26, 9


def draw(phases: Mapping[str, str], edges: Iterable[tuple[str, str]], colours: Mapping[str, str]) -> str:
    """The diagram as SVG. `phases` maps each phase to a sentence, in order. `edges` are pairs of different phases."""
    order = list(phases)
    places = {phase: _TOP + index * _STEP for index, phase in enumerate(order)}
    height = _TOP + len(order) * _STEP + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' role="img" font-family="system-ui, sans-serif">',
        "<title>The phases of a request and the changes between them</title>",
        f"<defs>{_marker('go', colours['go'])}{_marker('back', colours['back'])}</defs>",
        f'<text x="{_WIDTH / 2}" y="18" text-anchor="middle" font-size="13" fill="{colours["faint"]}">'
        "the file is admitted</text>",
        _line(_WIDTH / 2, 24, _WIDTH / 2, _TOP - 3, colours["go"], "go"),
    ]
    sides: dict[bool, int] = {True: 0, False: 0}
    index = {phase: place for place, phase in enumerate(order)}
    for source, to in sorted(edges, key=lambda edge: (abs(index[edge[1]] - index[edge[0]]), edge)):
        forward = index[to] > index[source]
        if forward and index[to] == index[source] + 1:
            lines.append(_line(_WIDTH / 2, places[source] + _HEIGHT, _WIDTH / 2, places[to] - 3, colours["go"], "go"))
            continue
        lane = sides[forward]
        sides[forward] += 1
        lines.append(_arc(places[source], places[to], lane, forward, colours["go" if forward else "back"]))
    for phase, sentence in phases.items():
        lines += _box(phase, sentence, places[phase], colours)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, marker: str) -> str:
    return (
        f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" fill="none" stroke="{colour}" stroke-width="1.6"'
        f' marker-end="url(#{marker})"/>'
    )


def _arc(start: float, end: float, lane: int, forward: bool, colour: str) -> str:
    edge = _LEFT + _BOX if forward else _LEFT
    turn = edge + (1 if forward else -1) * (_LANE + lane * _APART)
    out, into = start + _HEIGHT / 2 + 5, end + _HEIGHT / 2 - 5
    tip = edge + (3 if forward else -3)
    return (
        f'<path d="M{edge:g} {out:g}H{turn:g}V{into:g}H{tip:g}" fill="none" stroke="{colour}" stroke-width="1.3"'
        f' stroke-linejoin="round" opacity="0.85" marker-end="url(#{"go" if forward else "back"})"/>'
    )


def _box(phase: str, sentence: str, top: float, colours: Mapping[str, str]) -> Iterable[str]:
    middle = _LEFT + _BOX / 2
    yield (
        f'<rect x="{_LEFT}" y="{top}" width="{_BOX}" height="{_HEIGHT}" rx="7" fill="{colours["box"]}"'
        f' stroke="{colours["line"]}"/>'
    )
    yield (
        f'<text x="{middle:g}" y="{top + 19}" text-anchor="middle" font-size="14" font-weight="600"'
        f' fill="{colours["ink"]}">{escape(phase)}</text>'
    )
    yield (
        f'<text x="{middle:g}" y="{top + 36}" text-anchor="middle" font-size="11.5"'
        f' fill="{colours["faint"]}">{escape(sentence)}</text>'
    )
