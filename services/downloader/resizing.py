"""Computes the sizes of variants, and resizes pictures in little memory."""

import math
from collections.abc import Sequence

from PIL import Image

from services.downloader import webp
from services.downloader.resizer import Box, resize
from services.downloader.webp import StillWebp
from shared.domain.variants import FORMATS, VariantSpec

Sides = tuple[int, int]
"""Width and height in pixels."""

FINE_PIXELS = 8_000_000
"""A picture of at most this many pixels is averaged down to no less than twice its final sides: the sharp filter does
the rest. A larger picture is averaged down as far as a whole factor goes."""
BASE_PIXELS = 5_000_000
"""Of a picture with at most this many pixels, each variant is made from the picture itself. A larger picture is first
resized to its largest variant, from which the others are made: that takes less memory, and less time for colours."""
_BAND_PIXELS = 1_000_000


def variant_size(sides: Sides, spec: VariantSpec) -> Sides:
    """Return the width and height of the variant `spec` of a photo with the upright sides `sides`.

    If `spec` has no height, the variant has the photo's proportions, and is at most as wide as `spec` says. If `spec`
    has a height, the variant has exactly the width and height of `spec`, or the largest size of the same shape that
    fits into a smaller photo. A variant is never larger than the photo or the limit of its format, and at least 1 pixel
    wide and high.
    """
    width, height = sides
    if spec.height is not None:
        scale = min(1.0, width / spec.width, height / spec.height)
        return max(1, round(spec.width * scale)), max(1, round(spec.height * scale))
    longest = FORMATS[spec.format].max_side_pixels
    scale = min(1.0, spec.width / width, longest / height, longest / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def base_size(sides: Sides, specs: Sequence[VariantSpec]) -> Sides:
    """Return the smallest size of the whole photo from which all its variants can be made.

    `sides` are the photo's upright width and height. The result is the size of the largest variant, or larger if a crop
    needs more.
    """
    return max((_whole_size(sides, spec) for spec in specs), key=math.prod)


def _whole_size(sides: Sides, spec: VariantSpec) -> Sides:
    """Return the width and height of the whole photo at the scale of its variant `spec`.

    For a variant without a crop, this is the variant's own size.
    """
    width, height = variant_size(sides, spec)
    if spec.height is None:
        return width, height
    scale = min(1.0, max(width / sides[0], height / sides[1]))
    return max(width, round(sides[0] * scale)), max(height, round(sides[1] * scale))


def variant(base: Image.Image, sides: Sides, spec: VariantSpec) -> Image.Image:
    """Return the picture of the variant `spec`, made from `base`, the whole photo at least as large as `base_size`.

    `sides` are the upright width and height of the photo as received. A crop is cut around the centre.
    """
    size = variant_size(sides, spec)
    if size == base.size:
        return base
    if spec.height is None:
        return resize(base, size, (0.0, 0.0, base.width, base.height))
    left, top, right, bottom = box = _centre(base.size, size)
    if right - left == size[0] and bottom - top == size[1]:
        return base.crop((int(left), int(top), int(right), int(bottom)))
    return resize(base, size, box)


def _centre(sides: Sides, size: Sides) -> Box:
    """Return the largest part of a picture that has the shape of `size`, around the picture's centre.

    `sides` are the width and height of the picture.
    """
    scale = min(sides[0] / size[0], sides[1] / size[1])
    width, height = min(size[0] * scale, sides[0]), min(size[1] * scale, sides[1])
    left, top = (sides[0] - width) // 2, (sides[1] - height) // 2  # whole pixels, so that a cut alone changes none
    return left, top, left + width, top + height


def reduced(image: Image.Image, stored: Sides, size: Sides) -> tuple[Image.Image, Box]:
    """Divide the sides of a decoded photo by a whole number, as the fast first step of resizing it to `size`.

    Return the smaller picture, and the part of it that shows the photo: its last row and column may come from
    incomplete blocks. `stored` are the sides of the photo's file; `image` may have been decoded at a smaller size. Each
    block of pixels is averaged to one pixel, band by band, so that no full copy of a large picture is made.
    """
    factor = _factor(image.size, size)
    scale = max(1, round(stored[0] / image.width)) * factor
    smaller = _reduced(image, factor)
    return smaller, (0.0, 0.0, min(smaller.width, stored[0] / scale), min(smaller.height, stored[1] / scale))


def reduced_webp(photo: StillWebp, size: Sides) -> tuple[Image.Image, Box]:
    """Decode a still WebP, and divide its sides by a whole number, as the fast first step of resizing it to `size`.

    Return the smaller picture and the part of it that shows the photo, as `reduced` does.
    """
    mode, sides = "RGBA" if photo.has_alpha else "RGBX", sides_decoded(photo, size)
    image = Image.frombuffer(mode, sides, webp.decode(photo, sides), "raw", mode, 0, 1)
    if mode == "RGBX" and math.prod(sides) <= FINE_PIXELS:
        image = image.convert("RGB")  # costs a copy, but is resized in a sixth of the time
    return reduced(image, sides, size)


def sides_decoded(photo: StillWebp, size: Sides) -> Sides:
    """Return the width and height at which to decode a still WebP that is then resized to `size`.

    A lossy WebP with alpha is decoded at its full size: at a smaller size libwebp would mix the colours of invisible
    pixels with visible ones.
    """
    factor = 1 if photo.has_alpha and not photo.is_lossless else _factor(photo.sides, size)
    return math.ceil(photo.sides[0] / factor), math.ceil(photo.sides[1] / factor)


def _factor(sides: Sides, size: Sides) -> int:
    """Return the whole number by which to divide the sides of a picture before it is resized to `size`, at least 1.

    `sides` are the picture's width and height. For a large picture (over `FINE_PIXELS`), the result is the largest
    number that leaves both sides at least as long as in `size`. For a smaller picture, it is half of that number,
    rounded down.
    """
    times = min(sides[0] // size[0], sides[1] // size[1])
    return max(1, times if math.prod(sides) > FINE_PIXELS else times // 2)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return the picture with its sides divided by `factor` and rounded up, in a mode that can be resized.

    Each block of `factor` by `factor` pixels is averaged to one pixel. Return `image` itself if `factor` is 1 and the
    mode needs no change.
    """
    if factor == 1 and image.mode in ("L", "RGB", "RGBX", "CMYK") and not image.has_transparency_data:
        return image
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width // factor) * factor
    whole = None
    for top in range(0, height, rows):
        band = _resizable(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        whole = whole or Image.new(band.mode, (math.ceil(width / factor), math.ceil(height / factor)))
        whole.paste(band, (0, top // factor))
    assert whole is not None  # noqa: S101 - a picture has a row
    return whole


def _resizable(image: Image.Image) -> Image.Image:
    """Return the picture, converted if necessary to a mode whose pixels can be averaged.

    The pixels of a palette, for example, cannot be averaged. A picture of 16-bit greys is converted to L, a picture
    with transparency to RGBA unless its mode is LA, and any other such picture to RGB.
    """
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value / 256).convert("L")  # from 16 bits
    if image.mode != "LA" and image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "LA", "RGB", "CMYK") else image.convert("RGB")
