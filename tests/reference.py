"""Resizes pictures by the definition of the Lanczos filter, in 64-bit floats: slow, and exact but for rounding.

Tests compare variants with its results. Colours are weighted by opacity, so that invisible colours do not bleed.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import mul

from PIL import Image

Rows = list[list[float]]
"""One channel of a picture, row by row."""
_SUPPORT = 3.0


def resized(image: Image.Image, size: tuple[int, int], ground: float) -> list[Rows]:
    """Return red, green and blue of the picture at the width and height `size`, from 0 to 255.

    The picture lies on a ground of the grey `ground`, 0 to 255, which shows where the picture is transparent.
    """
    *colours, alpha = (_rows(channel) for channel in image.convert("RGBA").split())
    opacity = [[value / 255 for value in row] for row in alpha]
    weighted = ([list(map(mul, row, opaque)) for row, opaque in zip(rows, opacity, strict=True)] for rows in colours)
    shown = _resized(opacity, size)
    return [
        [
            [min(255.0, max(0.0, value + ground * (1 - opaque))) for value, opaque in zip(row, opaques, strict=True)]
            for row, opaques in zip(_resized(rows, size), shown, strict=True)
        ]
        for rows in weighted
    ]


def psnr(image: Image.Image, reference: Sequence[Rows], ground: float) -> float:
    """Return the peak signal-to-noise ratio in dB of the picture, on the same ground as `reference`: more is better."""
    seen = Image.new("RGBA", image.size, (int(ground),) * 3 + (255,))
    seen.alpha_composite(image.convert("RGBA"))
    found = chain.from_iterable(_rows(channel) for channel in seen.split()[:3])
    errors = [
        (a - b) ** 2
        for row, expected in zip(found, chain.from_iterable(reference), strict=True)
        for a, b in zip(row, expected, strict=True)
    ]
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def _rows(channel: Image.Image) -> Rows:
    values = list(channel.tobytes())
    return [[float(value) for value in values[at : at + channel.width]] for at in range(0, len(values), channel.width)]


def _resized(rows: Rows, size: tuple[int, int]) -> Rows:
    width, height = size
    across, down = list(_weights(len(rows[0]), width)), list(_weights(len(rows), height))
    wide = [_weighted(row, across) for row in rows]
    return _turned([_weighted(column, down) for column in _turned(wide)])


def _weighted(values: list[float], weights: Sequence[tuple[int, list[float]]]) -> list[float]:
    return [sum(map(mul, values[first : first + len(parts)], parts)) for first, parts in weights]


def _turned(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def _weights(length: int, new_length: int) -> Iterator[tuple[int, list[float]]]:
    """Yield for each new value the position of the first old value that counts, and the weights from there on."""
    step = length / new_length
    scale = max(1.0, step)
    for place in range(new_length):
        centre = (place + 0.5) * step
        first = max(0, math.floor(centre - _SUPPORT * scale))
        last = min(length, math.ceil(centre + _SUPPORT * scale))
        parts = [_lanczos((at + 0.5 - centre) / scale) for at in range(first, last)]
        yield first, [part / sum(parts) for part in parts]


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    return _sinc(x) * _sinc(x / _SUPPORT) if abs(x) < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x)
