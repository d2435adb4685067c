"""Where does each mark of a chart stand? Geometry in a view box; the templates draw it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0
_GAP = 0.2
"""The share of a column that stays empty."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle; `kind` is its class, `title` what a pointer resting on it is told."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars or a line, and the value at the top of the scale."""

    top: int
    bars: tuple[Bar, ...] = ()
    line: str = ""
    """The points of a polyline."""


def columns(series: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """Return columns of amounts by kind, stacked in the order in which the kinds are given, from left to right."""
    top = _top(max((sum(amounts.values()) for _, amounts in series), default=0))
    step = WIDTH / max(1, len(series))
    bars: list[Bar] = []
    for place, (label, amounts) in enumerate(series):
        y = HEIGHT
        for kind, amount in amounts.items():
            if amount:
                height = amount / top * HEIGHT
                y -= height
                bars.append(_bar(place * step, y, step * (1 - _GAP), height, kind, f"{label}: {amount:,} {kind}"))
    return Chart(top, tuple(bars))


def line(values: Sequence[tuple[float, int]]) -> Chart:
    """Return a line through (place from 0 to 1, amount), in the order given."""
    top = _top(max((amount for _, amount in values), default=0))
    points = (f"{place * WIDTH:.1f},{HEIGHT - amount / top * HEIGHT:.1f}" for place, amount in values)
    return Chart(top, line=" ".join(points))


def _bar(x: float, y: float, width: float, height: float, kind: str, title: str) -> Bar:
    return Bar(round(x, 1), round(y, 1), round(width, 1), round(height, 1), kind, title)


def _top(largest: int) -> int:
    """Return the end of the scale: the next of 1, 2, 5, 10, 20, 50 … so that charts do not jump with every value."""
    top = 1
    while True:
        for factor in (1, 2, 5):
            if factor * top >= largest:
                return factor * top
        top *= 10
