"""How is a photo-like picture made without a photo? A canvas in metres with light and shadow, and a JPEG with grain.

The only door to Pillow outside the downloader. What is drawn stands in `rooms` and `outdoors`.
"""

import random
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps, UnidentifiedImageError

Colour = tuple[int, int, int]
Point3 = tuple[float, float, float]
Point2 = tuple[float, float]
Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top, in metres."""

WHITE: Colour = (250, 249, 246)
BLACK: Colour = (12, 12, 16)
_NEAREST_METRES = 0.55
"""What is nearer to the camera is moved here: a corner behind the lens has no place on the picture."""
_DRAWN_WIDTH = 960
"""Larger pictures are drawn at this size and enlarged; grain then covers that the edges are soft."""


def tone(colour: Colour, factor: float) -> Colour:
    """Return the colour made lighter (factor > 1) or darker (< 1)."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour between the two; share 0 is the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


class Canvas:
    """A picture seen through a camera at x=`camera_x`, y=`eye`, z=0: x right, y up, z away, all in metres.

    `rng` is for what a scene strews about. Methods that end in `_2d` take shares of width and height instead.
    """

    def __init__(self, width: int, height: int, rng: random.Random, *, sizes: tuple[float, float, float]) -> None:
        self.eye, self.camera_x, self.horizon = sizes
        self.width, self.height, self.rng = width, height, rng
        self.focal = 0.62 * width if width >= height else 0.56 * height
        self.image = Image.new("RGB", (width, height), (200, 200, 200))
        self._pen = ImageDraw.Draw(self.image)

    def at(self, x: float, y: float, z: float) -> Point2:
        """Return the pixel that shows the point."""
        scale = self.focal / max(z, _NEAREST_METRES)
        return self.width / 2 + (x - self.camera_x) * scale, self.height * self.horizon + (self.eye - y) * scale

    def polygon(self, corners: Sequence[Point3], colour: Colour, lower: Colour | None = None) -> None:
        """Fill a flat shape; with `lower`, the colour runs from the top of the shape to its bottom."""
        self._fill([self.at(*corner) for corner in corners], colour, lower)

    def wall(self, edges: Rectangle, z: float, colour: Colour, lower: Colour | None = None) -> None:
        """Fill an upright rectangle that faces the camera."""
        x0, y0, x1, y1 = edges
        self.polygon([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, lower)

    def polygon_2d(self, corners: Sequence[Point2], colour: Colour, lower: Colour | None = None) -> None:
        """Fill a shape given in shares of the picture."""
        self._fill([(x * self.width, y * self.height) for x, y in corners], colour, lower)

    def _fill(self, points: list[Point2], colour: Colour, lower: Colour | None) -> None:
        if lower is None:
            self._pen.polygon(points, fill=colour)
            return
        left, right = max(0, int(min(x for x, _ in points))), min(self.width, int(max(x for x, _ in points)) + 1)
        top, bottom = max(0, int(min(y for _, y in points))), min(self.height, int(max(y for _, y in points)) + 1)
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], fill=255)
        self.image.paste(_gradient(colour, lower, mask.size), (left, top), mask)

    def line(self, start: Point3, end: Point3, colour: Colour, metres: float = 0.02) -> None:
        """Draw a bar of that thickness."""
        near = min(max(start[2], _NEAREST_METRES), max(end[2], _NEAREST_METRES))
        thickness = max(1, round(metres * self.focal / near))
        self._pen.line([self.at(*start), self.at(*end)], fill=colour, width=thickness)

    def ball(self, centre: Point3, across: float, colour: Colour, high: float | None = None) -> None:
        """Draw an ellipse that faces the camera, `across` wide and `high` high (else round)."""
        x, y = self.at(*centre)
        scale = self.focal / max(centre[2], _NEAREST_METRES) / 2
        rx, ry = across * scale, (across if high is None else high) * scale
        self._pen.ellipse([x - rx, y - ry, x + rx, y + ry], fill=colour)

    def cushion(self, low: Point3, high: Point3, colour: Colour) -> None:
        """Draw an upright rectangle with round corners at the depth of `low`, lighter at its top."""
        left, bottom = self.at(*low)
        right, top = self.at(high[0], high[1], low[2])
        width, height = max(2, round(right - left)), max(2, round(bottom - top))
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), min(width, height) * 0.28, fill=255)
        shaded = _gradient(tone(colour, 1.08), tone(colour, 0.86), mask.size)
        self.image.paste(shaded, (round(left), round(top)), mask)

    def box(self, low: Point3, high: Point3, colour: Colour) -> None:
        """Draw the visible faces of a block between two corners: sides darker, top lighter."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        if x0 > self.camera_x:
            self.polygon([(x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)], tone(colour, 0.74))
        if x1 < self.camera_x:
            self.polygon([(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)], tone(colour, 0.8))
        if y1 < self.eye:
            self.polygon([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], tone(colour, 1.12))
        if y0 > self.eye:
            self.polygon([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], tone(colour, 0.66))
        self.polygon([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)], tone(colour, 0.98), tone(colour, 0.84))

    def shade(
        self, shapes: Sequence[Sequence[Point3]], strength: float, blur: float, colour: Colour = (24, 20, 26)
    ) -> None:
        """Lay soft shapes over the picture: shadows, or light in a bright colour. `blur` in metres, 3 m away."""
        self._soft([[self.at(*corner) for corner in shape] for shape in shapes], strength, blur, colour)

    def shade_2d(
        self, shapes: Sequence[Sequence[Point2]], strength: float, blur: float, colour: Colour = (24, 20, 26)
    ) -> None:
        """Like `shade`, in shares of the picture."""
        points = [[(x * self.width, y * self.height) for x, y in shape] for shape in shapes]
        self._soft(points, strength, blur, colour)

    def glow(self, centre: Point3, across: float, strength: float, colour: Colour = (255, 226, 170)) -> None:
        """Lay soft round light over the picture."""
        x, y = self.at(*centre)
        side = max(4, round(across * self.focal / max(centre[2], _NEAREST_METRES)))
        mask = _halo(round(strength * 255)).resize((side, side), Image.Resampling.BILINEAR)
        self.image.paste(colour, (round(x - side / 2), round(y - side / 2)), mask)

    def _soft(self, shapes: list[list[Point2]], strength: float, blur: float, colour: Colour) -> None:
        mask = Image.new("L", (self.width // 4, self.height // 4))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            points = [(x / 4, y / 4) for x, y in shape]
            if len(points) == 2:
                pen.line(points, fill=round(255 * strength), width=max(1, self.width // 160))
            else:
                pen.polygon(points, fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * self.focal / 12))
        if (box := mask.getbbox()) is not None:  # the rest of the picture stays as it is
            left, top, right, bottom = (4 * edge for edge in box)
            soft = mask.crop(box).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
            self.image.paste(colour, (left, top), soft)


@lru_cache(maxsize=32)
def _halo(strength: int) -> Image.Image:
    """A round light that fades to nothing at its edge; strength 0 to 255 at its centre."""
    light = ImageOps.invert(Image.radial_gradient("L"))
    return light.point([round(value * value / 255 * strength / 255) for value in range(256)])


def _gradient(upper: Colour, lower: Colour, size: tuple[int, int]) -> Image.Image:
    """From one colour at the top to the other; one column first, as widening it costs next to nothing."""
    steps = Image.new("RGB", (1, 2))
    steps.putdata([upper, lower])
    column = steps.resize((1, size[1]), Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))
    return column.resize(size, Image.Resampling.NEAREST)


@lru_cache(maxsize=4)
def _grain(channels: int) -> Image.Image:
    """Deterministic film grain around 128, one tile. Pillow's own noise cannot be seeded."""
    rng = random.Random(channels)
    tile = Image.frombytes("L", (512, 512), rng.randbytes(512 * 512)).filter(ImageFilter.GaussianBlur(0.55))
    tile = tile.point([max(0, min(255, round(128 + (value - 128) * 0.19))) for value in range(256)])
    return Image.merge("RGB", (tile, tile, ImageChops.offset(tile, 7, 3)))


def drawn_size(width: int, height: int) -> tuple[int, int]:
    """Return the size to draw at for a picture of that size: never tiny, never larger than is worth its time."""
    share = min(1.0, _DRAWN_WIDTH / max(width, height))
    share = max(share, 480 / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def finished(canvas: Canvas, width: int, height: int, plate: Sequence[str]) -> bytes:
    """Return the canvas as a JPEG of that size in pixels, with vignette, caption plate (none if empty) and grain."""
    image = canvas.image.filter(ImageFilter.SMOOTH)
    image.paste((8, 8, 14), (0, 0), _vignette(image.size))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    if plate and width >= 400:
        _caption(image, plate)
    return _jpeg(ImageChops.add(image, _grain_sheet(width, height), 1, -128))


@lru_cache(maxsize=8)
def _vignette(size: tuple[int, int]) -> Image.Image:
    """The mask that darkens a picture's corners."""
    return Image.radial_gradient("L").point([max(0, value - 150) * 5 // 8 for value in range(256)]).resize(size)


def _grain_sheet(width: int, height: int) -> Image.Image:
    tile = _grain(3)
    if width * height > 4_000_000:  # finer grain would make the file far larger than a camera's
        tile = tile.resize((1024, 1024), Image.Resampling.BILINEAR)
    sheet = Image.new("RGB", (width, height))
    for left in range(0, width, tile.width):
        for top in range(0, height, tile.height):
            sheet.paste(tile, (left, top))
    return sheet


def _caption(image: Image.Image, lines: Sequence[str]) -> None:
    """Put small text on a dark plate at the lower left; the second line, if any, on the accent colour."""
    size = max(11, max(image.size) // 72)
    font = _font(size)
    pen = ImageDraw.Draw(image, "RGBA")
    left, bottom = size * 1.2, image.height - size * 1.2
    for line, fill in reversed(list(zip(lines, [(16, 18, 24, 150), (214, 92, 44, 235)], strict=False))):
        box = (left, bottom - size * 1.9, left + pen.textlength(line, font=font) + size * 1.4, bottom)
        pen.rounded_rectangle(box, size * 0.5, fill=fill)
        pen.text((left + size * 0.7, bottom - size * 0.95), line, font=font, fill=(255, 255, 255, 235), anchor="lm")
        bottom -= size * 2.2


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()


def copied(source: Path, width: int, plate: Sequence[str], *, mirrored: bool) -> bytes:
    """Return a JPEG at most `width` pixels wide of somebody's own picture file.

    Raises:
        ValueError: the file is no picture that can be read.
    """
    try:
        with Image.open(source) as opened:
            opened.draft("RGB", (width, width))
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{source.name} is not a picture that can be read") from error
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), reducing_gap=2.0)
    if mirrored:
        image = ImageOps.mirror(image)
    if plate and image.width >= 400:
        _caption(image, plate)
    return _jpeg(image)
