"""A picture of a scene that is given in metres, seen through a camera: flat shapes, blocks, balls and soft shadows."""

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Point = tuple[float, float, float]
"""x to the right, y up and z away from the camera, in metres."""

_NEAREST_METRES = 0.55
"""Points nearer than this are drawn at this distance: a point behind the camera could not be drawn."""
_SHADOW: Colour = (24, 20, 26)
_SHADOW_SCALE = 4
"""Shadows are drawn at a quarter of the size, which is faster; the blur hides it."""


def tone(colour: Colour, factor: float) -> Colour:
    """Return a colour that is `factor` times as light: lighter above 1, darker below 1."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour between two: `first` if `share` is 0, `second` if it is 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


class Canvas:
    """A picture to draw on. The camera is at x=`camera_x`, y=`eye`, z=0 and looks along z.

    `width` and `height` are pixels, `horizon` is the share of the height that is above the horizon. Scenes take their
    random positions and colours from `rng`.
    """

    def __init__(
        self, size: tuple[int, int], rng: random.Random, *, eye: float, camera_x: float, horizon: float
    ) -> None:
        self.width, self.height = size
        self.rng, self.eye, self.camera_x, self.horizon = rng, eye, camera_x, horizon
        self.image = Image.new("RGB", size)
        self._focal = 0.62 * self.width
        self._pen = ImageDraw.Draw(self.image)

    def _pixel(self, point: Point) -> tuple[float, float]:
        x, y, z = point
        scale = self._focal / max(z, _NEAREST_METRES)
        return self.width / 2 + (x - self.camera_x) * scale, self.height * self.horizon + (self.eye - y) * scale

    def polygon(self, corners: Sequence[Point], colour: Colour, lower: Colour | None = None) -> None:
        """Fill the shape between `corners`, points in metres in the order of its outline, on the picture.

        It has one colour, or with `lower` a gradient: `colour` at the shape's top, `lower` at its bottom.
        """
        points = [self._pixel(corner) for corner in corners]
        if lower is None:
            self._pen.polygon(points, fill=colour)
            return
        left, right = max(0, int(min(x for x, _ in points))), min(self.width, int(max(x for x, _ in points)) + 1)
        top, bottom = max(0, int(min(y for _, y in points))), min(self.height, int(max(y for _, y in points)) + 1)
        if right > left and bottom > top:
            mask = Image.new("L", (right - left, bottom - top))
            ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], fill=255)
            self.image.paste(_gradient(colour, lower, mask.size), (left, top), mask)

    def wall(self, low: Point, high: Point, colour: Colour, lower: Colour | None = None) -> None:
        """Fill the upright rectangle that faces the camera between two opposite corners, at the depth z of `low`.

        `colour` and `lower` are as in `polygon`.
        """
        (x0, y0, z), (x1, y1, _) = low, high
        self.polygon([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, lower)

    def floor(self, low: Point, high: Point, colour: Colour, lower: Colour | None = None) -> None:
        """Fill the level rectangle between two opposite corners, at the height y of `high`.

        `colour` and `lower` are as in `polygon`.
        """
        (x0, _, z0), (x1, y, z1) = low, high
        self.polygon([(x0, y, z1), (x1, y, z1), (x1, y, z0), (x0, y, z0)], colour, lower)

    def side(self, low: Point, high: Point, colour: Colour, lower: Colour | None = None) -> None:
        """Fill the upright rectangle that runs away from the camera between two opposite corners, at the x of `low`.

        `colour` and `lower` are as in `polygon`.
        """
        (x, y0, z0), (_, y1, z1) = low, high
        self.polygon([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], colour, lower)

    def block(self, low: Point, high: Point, colour: Colour) -> None:
        """Draw the faces of a block that the camera sees, between two opposite corners of the block.

        Faces at the side are darker than `colour`, the top is lighter; the front gets darker downwards.
        """
        (x0, y0, z0), (x1, y1, z1) = low, high
        if x0 > self.camera_x:
            self.side(low, high, tone(colour, 0.74))
        if x1 < self.camera_x:
            self.side((x1, y0, z0), (x1, y1, z1), tone(colour, 0.8))
        if y1 < self.eye:
            self.floor(low, high, tone(colour, 1.12))
        self.wall(low, high, tone(colour, 0.98), tone(colour, 0.84))

    def ball(self, low: Point, high: Point, colour: Colour) -> None:
        """Draw the ellipse that fills the upright rectangle between two opposite corners, at the depth z of `low`."""
        (left, bottom), (right, top) = self._pixel(low), self._pixel((high[0], high[1], low[2]))
        self._pen.ellipse([left, top, right, bottom], fill=colour)

    def shade(self, shapes: Sequence[Sequence[Point]], strength: float, colour: Colour = _SHADOW) -> None:
        """Lay blurred shapes over the picture in `colour`: they look like shadows, or like light in a bright colour.

        Each shape is a list of its corners in metres, in the order of its outline. `strength` is from 0, invisible, to
        1, opaque.
        """
        mask = Image.new("L", (self.width // _SHADOW_SCALE, self.height // _SHADOW_SCALE))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            points = [(x / _SHADOW_SCALE, y / _SHADOW_SCALE) for x, y in map(self._pixel, shape)]
            pen.polygon(points, fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(self.width / 200))
        self.image.paste(colour, (0, 0), mask.resize(self.image.size, Image.Resampling.BILINEAR))


def _gradient(upper: Colour, lower: Colour, size: tuple[int, int]) -> Image.Image:
    """Return a picture of `size` (width, height) in pixels, whose colour changes from `upper` to `lower`, downwards."""
    column = Image.linear_gradient("L").resize((1, size[1]))  # colouring one column and widening it is fast
    return ImageOps.colorize(column, upper, lower).resize(size, Image.Resampling.NEAREST)
