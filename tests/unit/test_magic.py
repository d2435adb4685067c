"""Tests how the format of a file, and whether it is complete, are recognized by its bytes."""

from pathlib import Path

import pytest

from services.downloader import magic
from services.downloader.magic import AVIF, GIF, JPEG, PNG, WEBP, EndsEarly, Kind
from tests import pictures

PICTURE = pictures.grain(32, 24)
GIF_FILE = pictures.encoded(PICTURE, "GIF", save_all=True, append_images=[pictures.corners(32, 24)])
PNG_FILE = pictures.encoded(PICTURE, "PNG")
THUMBNAIL = pictures.encoded(pictures.corners(16, 12), "JPEG")
JPEG_FILE = pictures.encoded(PICTURE, "JPEG", progressive=True, restart_marker_rows=1, exif=b"Exif\0\0" + THUMBNAIL)


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


@pytest.mark.parametrize(
    ("kind", "content"), [(GIF, GIF_FILE), (PNG, PNG_FILE), (JPEG, JPEG_FILE)], ids=["GIF", "PNG", "JPEG"]
)
def test_a_file_cut_anywhere_is_found(tmp_path: Path, kind: Kind, content: bytes) -> None:
    magic.check_ending(pictures.written(tmp_path, content), kind)
    magic.check_ending(pictures.written(tmp_path, content + b"whatever follows"), kind)
    for size in range(8, len(content)):
        with pytest.raises(EndsEarly):
            magic.check_ending(pictures.written(tmp_path, content[:size]), kind)


@pytest.mark.parametrize("split", range(4_094, 4_098))
def test_the_marker_that_ends_a_jpeg_is_found_wherever_it_lies(tmp_path: Path, split: int) -> None:
    content = b"\xff\xd8" + bytes(split) + b"\xff\x00\xff\xd0" + bytes(4_096 - 4) + b"\xff\xff\xd9"
    magic.check_ending(pictures.written(tmp_path, content), JPEG)
    with pytest.raises(EndsEarly):
        magic.check_ending(pictures.written(tmp_path, content[:-1]), JPEG)


def test_a_change_of_any_byte_of_a_png_is_found(tmp_path: Path) -> None:
    for at in range(8, len(PNG_FILE)):
        with pytest.raises(EndsEarly):
            magic.check_ending(pictures.written(tmp_path, pictures.damaged(PNG_FILE, at)), PNG)


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
