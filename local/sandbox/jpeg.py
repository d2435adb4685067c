"""Makes JPEG files with a caption plate. Drawn pictures get film grain, so that they are as large as photos."""

import random
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps, UnidentifiedImageError

_MIN_DRAWN_WIDTH, _MAX_DRAWN_WIDTH = 480, 960
_MIN_PLATE_WIDTH = 400
"""Pictures narrower than this, in pixels, have no caption plate: it would be too small to read."""


def drawn_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which to draw a picture that `encode` resizes to the given size, all in pixels.

    Large pictures are drawn smaller to save time; the grain hides the soft edges.
    """
    drawn_width = min(_MAX_DRAWN_WIDTH, max(_MIN_DRAWN_WIDTH, width))
    return drawn_width, round(height * drawn_width / width)


def encode(image: Image.Image, width: int, height: int, plate: str) -> bytes:
    """Return a drawing as a JPEG of `width` by `height` pixels, with grain, and the text `plate` as its caption."""
    image = image.filter(ImageFilter.SMOOTH).resize((width, height), Image.Resampling.BILINEAR)
    _caption(image, plate)
    return _jpeg(ImageChops.add(image, _grain_sheet(width, height), 1, -128))


def copied(source: Path, width: int, plate: str, *, mirrored: bool) -> bytes:
    """Return the picture in the file `source` as a JPEG at most `width` pixels wide, with `plate` as its caption.

    With `mirrored`, left and right are swapped, so that a changed photo looks changed.

    Raises:
        ValueError: the file is not a picture that can be read.
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
    _caption(image, plate)
    return _jpeg(image)


def _caption(image: Image.Image, text: str) -> None:
    """Draw a text on a dark plate at the lower left of the picture.

    Do nothing if the picture is narrower than 400 pixels.
    """
    if image.width < _MIN_PLATE_WIDTH:
        return
    size = max(11, max(image.size) // 72)
    font = ImageFont.load_default(size=size)
    pen = ImageDraw.Draw(image, "RGBA")
    left, bottom = size * 1.2, image.height - size * 1.2
    box = (left, bottom - size * 1.9, left + pen.textlength(text, font=font) + size * 1.4, bottom)
    pen.rounded_rectangle(box, size * 0.5, fill=(16, 18, 24, 150))
    pen.text((left + size * 0.7, bottom - size * 0.95), text, font=font, fill=(255, 255, 255, 235), anchor="lm")


@lru_cache(maxsize=1)
def _grain() -> Image.Image:
    """Return a tile of film grain around the grey value 128.

    It is always the same tile: Pillow's own noise would be another one each time, because it has no seed.
    """
    noise = random.Random(3).randbytes(512 * 512)
    tile = Image.frombytes("L", (512, 512), noise).filter(ImageFilter.GaussianBlur(0.55))
    tile = tile.point([max(0, min(255, round(128 + (value - 128) * 0.19))) for value in range(256)])
    return Image.merge("RGB", (tile, tile, ImageChops.offset(tile, 7, 3)))


def _grain_sheet(width: int, height: int) -> Image.Image:
    tile = _grain()
    if width * height > 4_000_000:  # finer grain would make the file far larger than a camera's
        tile = tile.resize((1024, 1024), Image.Resampling.BILINEAR)
    sheet = Image.new("RGB", (width, height))
    for left in range(0, width, tile.width):
        for top in range(0, height, tile.height):
            sheet.paste(tile, (left, top))
    return sheet


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()
