"""Tests how the format of a file is recognized by its first bytes."""

from pathlib import Path

import pytest

from services.downloader import magic
from services.downloader.magic import AVIF, GIF, JPEG, PNG, WEBP, Kind
from tests import pictures

PICTURE = pictures.grain(32, 24)
PNG_FILE = pictures.encoded(PICTURE, "PNG")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", JPEG),
        (b"\xff\xd8\xff\xdb", JPEG),
        (b"\xff\xd8", None),
        (b"\x89PNG\r\n\x1a\n", PNG),
        (b"\x89PNG\n\x1a\n", None),
        (b"\x8aMNG\r\n\x1a\n", None),
        (b"GIF87a", GIF),
        (b"GIF89a", GIF),
        (b"GIF88a", None),
        (b"RIFF\x10\0\0\0WEBPVP8 ", WEBP),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"RIFF", None),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", AVIF),
        (b"\0\0\0\x18ftypavis\0\0\0\0msf1miaf", AVIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", AVIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", None),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1avif", None),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", None),
        (b"\0\0\0\x18ftypmif1avifmif1miaf", None),
        (b"BM", None),
        (b"", None),
        (b" \xff\xd8\xff", None),
    ],
)
def test_a_format_is_recognized_by_its_first_bytes(tmp_path: Path, head: bytes, kind: Kind | None) -> None:
    assert magic.kind_of(pictures.written(tmp_path, head)) == kind
    assert magic.kind_of(pictures.written(tmp_path, head + bytes(100) if head else b"")) == kind


OTHERS: dict[str, tuple[bytes, ...]] = {
    "HEIC": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf",
        b"\0\0\0\x18ftypheix\0\0\0\0mif1heix",
        b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc",
    ),
    "TIFF": (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0"),
    "BMP": (pictures.encoded(PICTURE, "BMP"),),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "),
    "JPEG 2000": (pictures.encoded(PICTURE, "JPEG2000"), b"\xff\x4f\xff\x51\0\x2f"),
    "JPEG XR": (b"II\xbc\x01\x20\0\0\0",),
    "SVG": (
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a > b -->\n<!DOCTYPE svg PUBLIC ''>",
    ),
    "Photoshop": (b"8BPS\0\x01",),
    "ICO": (pictures.encoded(PICTURE, "ICO"),),
    "PDF": (b"%PDF-1.7",),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0",),
    "film": (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI LIST"),
}


@pytest.mark.parametrize(
    ("name", "head"),
    [(name, head) for name, heads in OTHERS.items() for head in heads],
    ids=lambda value: str(value)[:9],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, name: str, head: bytes) -> None:
    source = pictures.written(tmp_path, head + bytes(100))
    assert (magic.kind_of(source), magic.other_format(source)) == (None, name)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!doctype html><html><svg>",
        b'{"error": "BM"}',
        b"BMW is a car, and no picture",
        b"RIFF\0\0\0\0WAVE",
        bytes(99),
    ],
)
def test_bytes_of_no_known_format_have_no_name(tmp_path: Path, head: bytes) -> None:
    assert magic.other_format(pictures.written(tmp_path, head)) is None


@pytest.mark.parametrize(
    ("kind", "content", "sides"),
    [
        (AVIF, pictures.encoded(PICTURE, "AVIF"), (32, 24)),
        (AVIF, pictures.bombs(60_000)["AVIF"], (60_000, 60_000)),
        (AVIF, b"ispe", (0, 0)),
        (PNG, PNG_FILE, (0, 0)),
    ],
    ids=["AVIF", "bomb", "no sides", "PNG"],
)
def test_an_avif_announces_its_sides(tmp_path: Path, kind: Kind, content: bytes, sides: tuple[int, int]) -> None:
    assert magic.announced_sides(pictures.written(tmp_path, content), kind) == sides
