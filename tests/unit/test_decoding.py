"""Tests what becomes of each format of photo, and of bad bytes, with real decoders, on small pictures."""

from pathlib import Path

import pytest
from PIL import Image

from services.downloader import picture
from services.downloader.picture import Encoded
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec
from tests import pictures
from tests.encoding import COLOURFUL, JPEG, MANY, WEBP, all_near, encode, good, near, quarters, reason, shown
from tests.pictures import CORNERS, Colour


def deep(colour: Colour) -> bytes:
    """Return the colour at 16 bits a channel, big-endian."""
    return b"".join(bytes([value, 0]) for value in colour)


HALVES = (CORNERS[:2], CORNERS[2:])
GOOD = {
    "baseline JPEG": ("image/jpeg", pictures.encoded(COLOURFUL, "JPEG")),
    "progressive JPEG": ("image/jpeg", pictures.encoded(COLOURFUL, "JPEG", progressive=True)),
    "CMYK JPEG": ("image/jpeg", pictures.encoded(COLOURFUL.convert("CMYK"), "JPEG")),
    "PNG": ("image/png", pictures.encoded(COLOURFUL, "PNG")),
    "palette PNG": ("image/png", pictures.encoded(COLOURFUL.quantize(8), "PNG")),
    "PNG of 16 bits a channel": (
        "image/png",
        pictures.png(
            (64, 48),
            depth=16,
            colour_type=2,
            rows=b"".join((b"\0" + deep(left) * 32 + deep(right) * 32) * 24 for left, right in HALVES),
        ),
    ),
    "lossy WebP": ("image/webp", pictures.encoded(COLOURFUL, "WEBP", quality=90)),
    "lossless WebP": ("image/webp", pictures.encoded(COLOURFUL, "WEBP", lossless=True)),
    "animated WebP": (
        "image/webp",
        pictures.encoded(COLOURFUL, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48), "black")]),
    ),
    "GIF": ("image/gif", pictures.encoded(COLOURFUL, "GIF")),
    "animated GIF": (
        "image/gif",
        pictures.encoded(COLOURFUL, "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "black")]),
    ),
    "AVIF": ("image/avif", pictures.encoded(COLOURFUL, "AVIF", quality=90)),
    "animated AVIF": (
        "image/avif",
        pictures.encoded(COLOURFUL, "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "black")]),
    ),
    "several JPEGs in one": (
        "image/jpeg",
        pictures.encoded(COLOURFUL, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48), "black")]),
    ),
}


@pytest.mark.parametrize("spec", [WEBP, JPEG], ids=["to WebP", "to JPEG"])
@pytest.mark.parametrize(("content_type", "content"), GOOD.values(), ids=GOOD)
def test_a_photo_of_each_format_keeps_its_colours_and_sides(
    tmp_path: Path, content_type: str, content: bytes, spec: VariantSpec
) -> None:
    encoded = good(tmp_path, content, spec)
    image = shown(encoded)
    assert (encoded.content_type, (encoded.width, encoded.height)) == (content_type, image.size)
    assert (image.format, image.mode) == (spec.format.upper(), "RGB")
    assert all_near(quarters(image), CORNERS, 20)


@pytest.mark.parametrize(
    "content",
    [
        pictures.encoded(Image.new("L", (64, 48), 128), "JPEG"),
        pictures.encoded(Image.new("L", (64, 48), 128), "PNG"),
        pictures.encoded(Image.new("LA", (64, 48), (128, 255)), "PNG"),
        pictures.encoded(Image.new("I;16", (64, 48), 128 * 256), "PNG"),
        pictures.png((2, 2), depth=16, colour_type=4, rows=b"\0\x80\0\xff\xff\x80\0\xff\xff" * 2),
        pictures.encoded(Image.linear_gradient("L").point(lambda v: 255 * (v % 2)).convert("1"), "PNG"),
    ],
    ids=["JPEG", "PNG", "PNG with alpha", "16 bits", "16 bits with alpha", "1 bit"],
)
def test_a_grey_photo_stays_grey(tmp_path: Path, content: bytes) -> None:
    image = shown(good(tmp_path, content, VariantSpec("full", 16, "webp", 90)))
    assert image.mode == "RGB"
    assert all(near(colour, (128, 128, 128), 4) for colour in quarters(image))


@pytest.mark.parametrize("name", ["photo.html", "photo.jpg", "photo", "photo.webp"])
def test_the_format_is_recognized_by_the_bytes_whatever_the_files_name(tmp_path: Path, name: str) -> None:
    encoded = encode(tmp_path, pictures.encoded(COLOURFUL, "PNG"), name=name)
    assert isinstance(encoded, Encoded)
    assert (encoded.content_type, encoded.extension) == ("image/png", "png")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"<!doctype html><title>Sign in</title>",
        b'{"error": "no such photo"}',
        b"RIFF\0\0\0\0WAVEfmt ",
        bytes((17 * at + 3) % 256 for at in range(5000)),
    ],
    ids=["empty", "a byte", "HTML", "JSON", "WAV", "noise"],
)
def test_bytes_of_no_known_format_are_not_an_image(tmp_path: Path, content: bytes) -> None:
    assert reason(encode(tmp_path, content, name="photo.jpg")) is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("BMP", pictures.encoded(COLOURFUL, "BMP")),
        ("TIFF", pictures.encoded(COLOURFUL, "TIFF")),
        ("ICO", pictures.encoded(COLOURFUL, "ICO")),
        ("JPEG 2000", pictures.encoded(COLOURFUL, "JPEG2000")),
        ("PDF", b"%PDF-1.7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_an_unsupported_format_is_named_in_the_failure(tmp_path: Path, name: str, content: bytes) -> None:
    expected = Failure(Reason.UNSUPPORTED_FORMAT, f"the file is {name}")
    assert encode(tmp_path, content, name="photo.jpg") == expected


GRAIN = pictures.grain()
WHOLE = {
    "JPEG": pictures.encoded(GRAIN, "JPEG"),
    "PNG": pictures.encoded(GRAIN, "PNG"),
    "lossy WebP": pictures.encoded(GRAIN, "WEBP"),
    "lossless WebP": pictures.encoded(GRAIN, "WEBP", lossless=True),
    "animated WebP": pictures.encoded(GRAIN, "WEBP", save_all=True, append_images=[COLOURFUL]),
    "GIF": pictures.encoded(GRAIN, "GIF"),
    "AVIF": pictures.encoded(GRAIN, "AVIF"),
}


@pytest.mark.parametrize("name", ["lossy WebP", "lossless WebP", "animated WebP", "AVIF"])
def test_a_webp_or_avif_cut_anywhere_after_its_first_bytes_is_broken(tmp_path: Path, name: str) -> None:
    content = WHOLE[name]
    cuts = sorted(
        {64, len(content) // 4, len(content) // 2, len(content) - 200, *range(len(content) - 12, len(content))}
    )
    assert {at: reason(encode(tmp_path, content[:at])) for at in cuts} == dict.fromkeys(cuts, Reason.BROKEN_IMAGE)
    assert isinstance(encode(tmp_path, content), Encoded)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff" + bytes(100),
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(100),
        b"GIF89a" + bytes(100),
        b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(100),
    ],
    ids=["JPEG", "WebP", "GIF", "AVIF"],
)
def test_a_file_of_zeros_behind_a_photos_first_bytes_is_broken(tmp_path: Path, content: bytes) -> None:
    assert reason(encode(tmp_path, content)) is Reason.BROKEN_IMAGE


@pytest.mark.parametrize("side", [8_000, 16_000, 60_000])
@pytest.mark.parametrize("name", pictures.bombs(8_000))
def test_too_many_pixels_are_refused_by_the_header_alone(tmp_path: Path, name: str, side: int) -> None:
    encoded = encode(tmp_path, pictures.bombs(side)[name], memory=20_000_000)
    assert reason(encoded) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_exactly_the_maximum_of_pixels_is_allowed(tmp_path: Path, content: bytes) -> None:
    assert isinstance(encode(tmp_path, content, max_pixels=64 * 48), Encoded)
    assert reason(encode(tmp_path, content, max_pixels=64 * 48 - 1)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize(("lossless", "memory"), [(False, 70_000_000), (True, 170_000_000)])
def test_a_webp_of_24_megapixels_needs_little_memory(tmp_path: Path, lossless: bool, memory: int) -> None:
    content = pictures.encoded(pictures.corners(6_000, 4_000), "WEBP", lossless=lossless, quality=20, method=0)
    assert isinstance(encode(tmp_path, content, memory=memory), Encoded)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_photo_that_needs_more_than_the_memory_limit_is_refused(tmp_path: Path, form: str) -> None:
    content = pictures.encoded(Image.new("RGB", (2000, 1500)), form)
    assert reason(encode(tmp_path, content, memory=3_000_000)) is Reason.TOO_MUCH_MEMORY


def test_a_missing_file_raises_instead_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        picture.encode(tmp_path / "missing", tmp_path, (WEBP,), MANY)
