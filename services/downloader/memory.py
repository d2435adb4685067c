"""Estimates and limits the memory that decoding a photo takes."""

import ctypes
import math
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, JpegImagePlugin

from services.downloader.resizing import BASE_PIXELS, FINE_PIXELS, Sides, sides_decoded
from services.downloader.webp import StillWebp
from shared.domain.variants import VariantSpec

KEPT_BYTES = 40 * 2**20
"""How many bytes a process may keep for its next photo; a photo of 1920 x 1280 pixels takes 35 MB."""


def bytes_to_encode(specs: Sequence[VariantSpec]) -> int:
    """Return how many bytes a pixel takes while the largest of the variants `specs` is held and encoded (measured)."""
    return 34 if any(spec.format == "avif" for spec in specs) else 17


def needed(image: Image.Image, size: Sides, encoding: int) -> int:
    """Estimate how many bytes it takes to decode a photo, resize it to `size`, and make its variants from the result.

    `image` is opened but not decoded: only the file's header was read. `encoding` is the result of `bytes_to_encode`,
    in bytes for each pixel. The numbers in the formula were measured.
    """
    pixels, largest = math.prod(image.size), math.prod(size)
    decoded = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(image.mode, 4)
    shrinking = 8 * largest + 8_000_000
    if image.format == "WEBP":
        decoded = 16 * pixels  # an animation: its decoder keeps two canvases, the frame as bytes, and a picture of it
    elif image.format == "AVIF":
        decoded = (12 if image.mode == "RGBA" else 9) * pixels
    elif isinstance(image, JpegImagePlugin.JpegImageFile):
        decoded += _coefficients(image) if image.info.get("progressive") else 0
    else:
        shrinking = (22 if image.has_transparency_data else 14) * largest + 17_000_000  # bands, multiplied by alpha
    return max(decoded + shrinking, min(decoded, 4 * BASE_PIXELS) + encoding * largest + 8_000_000)


def needed_webp(photo: StillWebp, size: Sides, encoding: int) -> int:
    """Estimate how many bytes it takes to decode a still WebP, resize it to `size`, and make its variants from that.

    `encoding` is the result of `bytes_to_encode`, in bytes for each pixel. The numbers in the formula were measured.
    """
    pixels, decoded_pixels, largest = (math.prod(sides) for sides in (photo.sides, sides_decoded(photo, size), size))
    decoded = 4 * pixels if photo.is_lossless else 2 * pixels if photo.has_alpha else 0
    shrinking = (22 if photo.has_alpha else 14) * largest + 17_000_000
    decoded += 4 * (decoded_pixels + min(decoded_pixels, FINE_PIXELS))
    return max(decoded + shrinking, min(decoded, 4 * BASE_PIXELS) + encoding * largest + 8_000_000)


def needed_at_full_size(image: Image.Image) -> int:
    """Estimate how many bytes it takes to decode a JPEG at its full size, without variants.

    `image` is opened but not decoded.
    """
    needed = 5 * math.prod(image.size)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.info.get("progressive"):
        needed += _coefficients(image)
    return needed


def _coefficients(image: JpegImagePlugin.JpegImageFile) -> int:
    """Return how many bytes a progressive JPEG's coefficients take in memory.

    Each coefficient takes two bytes, and libjpeg holds all of them until it has read the last scan.
    """
    per_pixel = {0: 6, 1: 4, 2: 3}.get(JpegImagePlugin.get_sampling(image), 2 * len(image.getbands()))
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    return per_pixel * math.prod(image.size) * scale**2


@contextmanager
def limited(extra_bytes: int | None) -> Iterator[None]:
    """While the `with` block runs, let this process take at most `extra_bytes` of memory more than it has now.

    An allocation beyond the limit raises MemoryError. There is no limit if `extra_bytes` is None, or if the system
    lacks Linux's /proc.
    """
    statm = Path("/proc/self/statm")
    if extra_bytes is None or not statm.exists():
        yield
        return
    data = int(statm.read_text().split()[5]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + extra_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def give_back() -> None:
    """Return to the system the memory that this process has freed but still keeps. Does nothing without glibc."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
