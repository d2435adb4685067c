"""Computes the sizes of variants, and resizes pictures in little memory."""

import math
from collections.abc import Sequence

from PIL import Image

from services.downloader import webp
from services.downloader.webp import StillWebp
from shared.domain.variants import FORMATS, VariantSpec

Sides = tuple[int, int]
"""Width and height in pixels."""

FINE_PIXELS = 8_000_000
"""A picture of at most this many pixels is averaged down to no less than twice its final sides: the sharp filter does
the rest. A larger picture is averaged down as far as a whole factor goes."""
_BAND_PIXELS = 1_000_000


def variant_size(sides: Sides, spec: VariantSpec) -> Sides:
    """Return the width and height of the variant `spec` of a photo with the given upright sides.

    The variant has the photo's proportions. The variant is at most as wide as `spec` says, never larger than the photo,
    within the limit of its format, and at least 1 pixel wide and high.
    """
    width, height = sides
    longest = FORMATS[spec.format].max_side_pixels
    scale = min(1.0, spec.width / width, longest / height, longest / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def largest_variant(sides: Sides, specs: Sequence[VariantSpec]) -> Sides:
    """Return the width and height of the variant with the most pixels, for a photo with the given upright sides."""
    return max((variant_size(sides, spec) for spec in specs), key=math.prod)


def resized(image: Image.Image, size: Sides, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    """Return the picture, or its part in `box` (left, top, right, bottom), resized to `size` with the Lanczos filter.

    The filter keeps edges sharp. The two colour channels of a YCbCr picture are averaged instead, which takes a quarter
    less time: a variant keeps only a quarter of their pixels anyway.
    """
    if image.mode != "YCbCr":
        return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    filters = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.BOX)
    channels = [image.getchannel(index).resize(size, resampling, box) for index, resampling in enumerate(filters)]
    return Image.merge("YCbCr", channels)


def shrunk(image: Image.Image, stored: Sides, size: Sides) -> Image.Image:
    """Return the decoded photo `image`, not yet turned upright, at `size`, the width and height of its largest variant.

    `stored` are the sides of the photo's file; `image` may have been decoded at a smaller size. First whole blocks of
    pixels are averaged, band by band, so that no full copy of a large picture is made. Then `resized` does the rest.
    """
    factor = _factor(image.size, size)
    scale = max(1, round(stored[0] / image.width)) * factor
    reduced = _reduced(image, factor)
    box = (0, 0, min(reduced.width, stored[0] / scale), min(reduced.height, stored[1] / scale))
    return resized(reduced, size, box)


def shrunk_webp(photo: StillWebp, size: Sides) -> Image.Image:
    """Decode a still WebP, and return the picture at `size`, the width and height of its largest variant."""
    mode, sides = "RGBA" if photo.has_alpha else "RGBX", sides_decoded(photo, size)
    image = Image.frombuffer(mode, sides, webp.decode(photo, sides), "raw", mode, 0, 1)
    if mode == "RGBX" and math.prod(sides) <= FINE_PIXELS:
        image = image.convert("RGB")  # costs a copy, but then three bytes a pixel are resized instead of four
    return shrunk(image, sides, size)


def sides_decoded(photo: StillWebp, size: Sides) -> Sides:
    """Return the width and height at which to decode a still WebP that is then resized to `size`.

    A lossy WebP with alpha is decoded at its full size: at a smaller size libwebp would mix the colours of invisible
    pixels with visible ones.
    """
    factor = 1 if photo.has_alpha and not photo.is_lossless else _factor(photo.sides, size)
    return math.ceil(photo.sides[0] / factor), math.ceil(photo.sides[1] / factor)


def _factor(sides: Sides, size: Sides) -> int:
    """Return the whole number by which to divide the sides of a picture before it is resized to `size`, at least 1.

    `sides` are the picture's width and height. The result is the largest such number for a large picture (over
    `FINE_PIXELS`), and half of it, rounded down, for a smaller one.
    """
    times = min(sides[0] // size[0], sides[1] // size[1])
    return max(1, times if math.prod(sides) > FINE_PIXELS else times // 2)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return the picture with its sides divided by `factor` and rounded up, in a mode that `resized` can resize.

    Each block of `factor` by `factor` pixels is averaged to one pixel. Return `image` itself if `factor` is 1 and the
    mode needs no change.
    """
    if factor == 1 and image.mode in ("L", "RGB", "RGBX", "YCbCr", "CMYK") and not image.has_transparency_data:
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

    The pixels of a palette, for example, cannot be averaged. A picture of 16-bit greys becomes L, a picture with
    transparency RGBA unless its mode is LA, and any other such picture RGB.
    """
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value / 256).convert("L")  # from 16 bits
    if image.mode != "LA" and image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "LA", "RGB", "YCbCr", "CMYK") else image.convert("RGB")
