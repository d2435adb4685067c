"""Tests which incomplete JPEGs, PNGs and GIFs are shown as browsers show them, and which lack pixels."""

import random
import zlib
from pathlib import Path

import pytest
from PIL import Image

from services.downloader import picture
from services.downloader.picture import Encoded
from shared.domain.failures import Reason
from tests import pictures
from tests.encoding import COLOURFUL, MANY, WEBP, all_near, encode, good, quarters, reason, shown
from tests.pictures import CORNERS, damaged, png, png_chunk

GRAIN = pictures.grain()
FILM = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41" + random.Random(0).randbytes(3_000)
HTML = b"<html><body>504 Gateway Time-out</body></html>"


def inserted(content: bytes, before: bytes, piece: bytes) -> bytes:
    """Return the file with a piece inserted in front of the last place where the bytes `before` stand."""
    at = content.rindex(before)
    return content[:at] + piece + content[at:]


def broken_cuts(folder: Path, content: bytes, cuts: list[int], tail: bytes = b"") -> list[int]:
    """Return which of the sizes in `cuts` make the photo broken if it is cut to that size and continued with `tail`."""
    return [size for size in cuts if reason(encode(folder, content[:size] + tail)) is Reason.BROKEN_IMAGE]


# JPEG

JPEGS = {
    "baseline": pictures.encoded(GRAIN, "JPEG"),
    "progressive": pictures.encoded(GRAIN, "JPEG", progressive=True),
    "of small MCUs": pictures.encoded(GRAIN, "JPEG", subsampling=0),
    "with restarts": pictures.encoded(GRAIN, "JPEG", restart_marker_blocks=3),
    "progressive with restarts": pictures.encoded(GRAIN, "JPEG", progressive=True, restart_marker_rows=1),
    "grey": pictures.encoded(GRAIN.convert("L"), "JPEG"),
    "CMYK": pictures.encoded(GRAIN.convert("CMYK"), "JPEG"),
    "with a thumbnail": pictures.encoded(
        GRAIN, "JPEG", exif=b"Exif\0\0" + pictures.encoded(pictures.corners(16, 12), "JPEG")
    ),
}


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_with_all_pixels_looks_the_same_without_its_end_and_with_other_data(
    tmp_path: Path, content: bytes
) -> None:
    expected = shown(good(tmp_path, content)).tobytes()
    pixels = content[:-2]
    for ending in (b"", b"\xff", FILM, content, bytes(3_000), b"\r\n--boundary--\r\n", b"\xff\xd9" + FILM):
        assert shown(good(tmp_path, pixels + ending)).tobytes() == expected


@pytest.mark.parametrize("tail", [b"", FILM, HTML, bytes(3_000)], ids=["nothing", "film", "HTML", "zeros"])
@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_pixels_is_broken_whatever_follows(tmp_path: Path, content: bytes, tail: bytes) -> None:
    last_scan = content.rindex(b"\xff\xda") + 14
    cuts = [100, len(content) // 2, len(content) - 60]
    cuts += random.Random(0).sample(range(last_scan, max(len(content) - 60, last_scan + 5)), 5)
    if tail in (HTML, bytes(3_000)):
        cuts = [cut for cut in cuts if cut < len(content) - 400]  # the tail's bytes can be read as the last few pixels
    assert broken_cuts(tmp_path, content, cuts, tail) == cuts


@pytest.mark.parametrize("name", ["baseline", "progressive", "with restarts"])
def test_a_jpeg_that_lacks_a_single_byte_of_its_pixels_is_broken(tmp_path: Path, name: str) -> None:
    cuts = list(range(len(JPEGS[name]) - 12, len(JPEGS[name]) - 2))
    assert broken_cuts(tmp_path, JPEGS[name], cuts) == cuts


def test_a_progressive_jpeg_without_its_last_scan_is_broken(tmp_path: Path) -> None:
    content = JPEGS["progressive"]
    cuts = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"][1:]
    assert len(cuts) > 5
    assert broken_cuts(tmp_path, content, cuts) == cuts
    assert broken_cuts(tmp_path, content, cuts, FILM) == cuts


@pytest.mark.parametrize("split", range(4_094, 4_098))
def test_the_marker_that_ends_a_jpeg_is_found_wherever_it_lies(tmp_path: Path, split: int) -> None:
    content = JPEGS["baseline"]
    padded = content[:2] + b"\xff\xfe" + (split - 4).to_bytes(2, "big") + bytes(split - 6) + content[2:]
    assert isinstance(encode(tmp_path, padded), Encoded)


def test_a_jpeg_that_must_be_read_whole_to_find_its_end_keeps_to_the_memory_limit(tmp_path: Path) -> None:
    content = pictures.encoded(Image.new("RGB", (2_000, 1_500)), "JPEG")[:-2]
    assert reason(encode(tmp_path, content, memory=13_000_000)) is Reason.TOO_MUCH_MEMORY
    assert isinstance(encode(tmp_path, content, memory=60_000_000), Encoded)


# PNG

PNG = pictures.encoded(COLOURFUL, "PNG", icc_profile=pictures.DISPLAY_P3)
LARGE = bytes(2_000_000)
TEXT = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE))
PROFILE = png_chunk(b"iCCP", b"large\0\0" + zlib.compress(LARGE))


def with_chunk(chunk: bytes) -> bytes:
    """Return a PNG with this chunk in front of its pixels."""
    content = pictures.encoded(COLOURFUL, "PNG")
    return inserted(content, content[content.index(b"IDAT") - 4 :], chunk)


SHOWN_PNGS = {
    "text's checksum": with_chunk(damaged(png_chunk(b"tEXt", b"Title\0Front"), 10)),
    "transparency's checksum": with_chunk(damaged(png_chunk(b"tRNS", bytes(6)), 10)),
    "profile's checksum": with_chunk(damaged(PROFILE, 10)),
    "2 MB of XMP": with_chunk(TEXT),
    "80 MB of text": with_chunk(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(LARGE[:1_000_000])) * 80),
    "2 MB of ICC": with_chunk(PROFILE),
    "no IEND": with_chunk(b"")[:-12],
    "half of an IEND": with_chunk(b"")[:-7],
    "IEND's checksum": damaged(with_chunk(b""), len(with_chunk(b"")) - 1),
    "last checksum of the pixels cut": with_chunk(b"")[:-14],
    "other data in place of IEND": with_chunk(b"")[:-12] + FILM,
    "other data after IEND": with_chunk(b"") + FILM,
    "chunk without an end": with_chunk(b"")[:-12] + b"\x7f\0\0\0tEXtTitle",
}


@pytest.mark.parametrize("content", SHOWN_PNGS.values(), ids=SHOWN_PNGS)
def test_a_png_with_a_fault_outside_its_pixels_is_shown_without_that_part(tmp_path: Path, content: bytes) -> None:
    image = shown(good(tmp_path, content))
    assert all_near(quarters(image), CORNERS, 20)
    assert not {"icc_profile", "xmp", "exif"} & set(image.info)


PALETTE = pictures.encoded(GRAIN.quantize(8), "PNG")
WHOLE_PNG = pictures.encoded(GRAIN, "PNG")
BROKEN_PNGS = {
    "pixels' checksum": damaged(WHOLE_PNG, WHOLE_PNG.index(b"IDAT") + 50),
    "pixels' stored checksum": damaged(WHOLE_PNG, len(WHOLE_PNG) - 13),
    "header's checksum": damaged(WHOLE_PNG, 29),
    "palette's checksum": damaged(PALETTE, PALETTE.index(b"PLTE") + 6),
    "no pixels": WHOLE_PNG[: WHOLE_PNG.index(b"IDAT") - 4] + png_chunk(b"IEND", b""),
    "too few pixels": png((64, 48), depth=8, colour_type=2, rows=bytes(1_000)),
    "one byte too few": png((64, 48), depth=8, colour_type=2, rows=bytes(193 * 48 - 1)),
    "pixels cut": WHOLE_PNG[:-100],
    "pixels cut, then IEND": WHOLE_PNG[:-100] + png_chunk(b"IEND", b""),
    "pixels' own checksum": png((64, 48), depth=8, colour_type=2, rows=b"").replace(
        png_chunk(b"IDAT", zlib.compress(b"")),
        png_chunk(b"IDAT", zlib.compress(bytes(193 * 48))[:-4] + b"\0\0\0\1"),
    ),
    "header only": WHOLE_PNG[:33],
}


@pytest.mark.parametrize("content", BROKEN_PNGS.values(), ids=BROKEN_PNGS)
def test_a_png_with_a_fault_in_its_pixels_is_broken(tmp_path: Path, content: bytes) -> None:
    assert reason(encode(tmp_path, content)) is Reason.BROKEN_IMAGE


def test_a_change_of_any_byte_of_a_png_is_found_or_does_not_matter(tmp_path: Path) -> None:
    content = pictures.encoded(GRAIN.resize((16, 12)), "PNG")
    expected = shown(good(tmp_path, content)).tobytes()
    broken = 0
    for at in range(8, len(content)):
        encoded = encode(tmp_path, damaged(content, at))
        broken += reason(encoded) is Reason.BROKEN_IMAGE
        assert reason(encoded) is Reason.BROKEN_IMAGE or shown(encoded).tobytes() == expected  # type: ignore[arg-type]
    assert broken > len(content) * 0.9


def test_a_colour_profile_of_a_png_is_kept(tmp_path: Path) -> None:
    image = shown(good(tmp_path, PNG[:-12]))
    assert not all_near(quarters(image), CORNERS, 8)  # the profile changes the colours


# GIF

GIF = pictures.encoded(COLOURFUL, "GIF")
FILM_OF_GIF = pictures.encoded(COLOURFUL, "GIF", save_all=True, append_images=[GRAIN], duration=100)
COMMENT = b"!\xfe\x05hello\0"
SHOWN_GIFS = {
    "zeros before the trailer": GIF[:-1] + b"\0\0;",
    "zeros before the frame": inserted(GIF, b",\0\0\0\0", b"\0\0"),
    "no trailer": GIF[:-1],
    "zeros in place of a trailer": GIF[:-1] + bytes(99),
    "neither trailer nor terminator": GIF[:-2],
    "other data in place of a trailer": GIF[:-1] + HTML,
    "other data after the trailer": GIF + FILM,
    "half a comment": GIF[:-1] + COMMENT[:5],
    "film without a trailer": FILM_OF_GIF[:-1],
    "zeros between the frames of a film": inserted(FILM_OF_GIF, b"!\xf9\x04", b"\0"),
}


@pytest.mark.parametrize("content", SHOWN_GIFS.values(), ids=SHOWN_GIFS)
def test_a_gif_with_a_fault_between_its_blocks_is_shown(tmp_path: Path, content: bytes) -> None:
    assert all_near(quarters(shown(good(tmp_path, content))), CORNERS, 20)


@pytest.mark.parametrize("content", [pictures.encoded(GRAIN, "GIF"), FILM_OF_GIF], ids=["one frame", "two frames"])
def test_a_gif_that_ends_within_a_frame_is_broken(tmp_path: Path, content: bytes) -> None:
    cuts = [13, len(content) // 4, len(content) // 2, len(content) - 200, len(content) - 20]
    assert broken_cuts(tmp_path, content, cuts) == cuts


@pytest.mark.parametrize("content", [PNG, JPEGS["baseline"][:-2]], ids=["PNG", "JPEG without its end"])
def test_the_copy_that_is_decoded_lies_in_the_folder_of_the_variants(tmp_path: Path, content: bytes) -> None:
    album, into = tmp_path / "album", tmp_path / "variants"
    album.mkdir()
    source = pictures.written(album, content)
    with pytest.raises(FileNotFoundError):  # as any fault of the disk, which is no fault of the photo
        picture.encode(source, into, (WEBP,), MANY)
    into.mkdir()
    assert isinstance(picture.encode(source, into, (WEBP,), MANY), Encoded)
    assert list(album.iterdir()) == [source]
