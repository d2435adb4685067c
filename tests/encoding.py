"""Encodes photos for tests, and compares the colours of what comes out."""

from pathlib import Path

from PIL import Image

from services.downloader import picture
from services.downloader.picture import Encoded
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec
from tests import pictures
from tests.pictures import Colour

MANY = 60_000_000
WEBP = VariantSpec("full", 1600, "webp", 90)
JPEG = VariantSpec("full", 1600, "jpeg", 90)
AVIF = VariantSpec("full", 1600, "avif", 80)
COLOURFUL = pictures.corners()


def encode(
    folder: Path,
    content: bytes,
    *specs: VariantSpec,
    max_pixels: int = MANY,
    memory: int | None = None,
    name: str = "x",
) -> Encoded | Failure:
    """Write the bytes to a file in `folder`, and encode it, as an encoder would, to the variants `specs`, else to WebP.

    Return the encoded photo, or why that failed.
    """
    source = pictures.written(folder, content, name)
    return picture.encode(source, folder, specs or (WEBP,), max_pixels, memory)


def good(folder: Path, content: bytes, *specs: VariantSpec) -> Encoded:
    """Encode a photo's bytes to the variants `specs`, and return it. Fail if it cannot be encoded."""
    encoded = encode(folder, content, *specs)
    assert isinstance(encoded, Encoded), encoded
    return encoded


def shown(encoded: Encoded) -> Image.Image:
    """Return the picture in the file of the photo's first variant, read into memory."""
    with Image.open(encoded.variants[0].path) as image:
        image.load()
        return image


def reason(encoded: Encoded | Failure) -> Reason | None:
    """Return why the photo could not be encoded; None if it was encoded."""
    return encoded.reason if isinstance(encoded, Failure) else None


def quarters(image: Image.Image) -> list[Colour]:
    """Return the colour in the middle of each quarter of the picture, in the order of `CORNERS`."""
    width, height = image.size
    rgb = image.convert("RGB")
    found = []
    for y in (height // 4, height * 3 // 4):
        for x in (width // 4, width * 3 // 4):
            pixel = rgb.getpixel((x, y))
            assert isinstance(pixel, tuple)
            found.append((int(pixel[0]), int(pixel[1]), int(pixel[2])))
    return found


def near(found: Colour, expected: Colour, by: int = 14) -> bool:
    """Return True if no channel of the colours differs by more than `by`."""
    return all(abs(found_value - value) <= by for found_value, value in zip(found, expected, strict=True))


def all_near(found: list[Colour], expected: tuple[Colour, ...], by: int = 14) -> bool:
    return all(near(colour, expected_colour, by) for colour, expected_colour in zip(found, expected, strict=True))
