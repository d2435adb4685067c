"""Computes where the bars and lines of a chart stand in its SVG view box; the templates draw them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0
_GAP = 0.2
"""The share of a column's width that stays empty."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle of a chart, in units of the SVG view box. `kind` is its CSS class, `title` its tooltip."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart's bars or its line, in units of the SVG view box. `top` is the amount at the top of the scale."""

    top: int
    bars: tuple[Bar, ...] = ()
    line: str = ""
    """The points of an SVG polyline; "" for a chart of bars."""


def columns(series: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """Return a chart with one column for each item of `series`, from left to right. Pure.

    An item is a pair: the column's label, and a mapping of kinds to amounts. A kind is a CSS class and a word of the
    tooltip. The amounts of a column are stacked in the mapping's order, the first at the bottom. Without items, the
    chart has no bars.
    """
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
    """Return a chart with a line through the points `values`, in their order. Pure.

    A point is a pair: its place, from 0 at the left to 1 at the right, and its amount. Without points, the chart's
    `line` is "".
    """
    top = _top(max((amount for _, amount in values), default=0))
    points = (f"{place * WIDTH:.1f},{HEIGHT - amount / top * HEIGHT:.1f}" for place, amount in values)
    return Chart(top, line=" ".join(points))


def _bar(x: float, y: float, width: float, height: float, kind: str, title: str) -> Bar:
    return Bar(round(x, 1), round(y, 1), round(width, 1), round(height, 1), kind, title)


def _top(largest: int) -> int:
    """Return the top of a chart's scale: the smallest of 1, 2, 5, 10, 20, 50 … that is at least `largest`.

    With such a round number, the scale stays the same while the largest amount changes a little.
    """
    top = 1
    while True:
        for factor in (1, 2, 5):
            if factor * top >= largest:
                return factor * top
        top *= 10
