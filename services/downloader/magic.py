"""Recognizes the format of a photo, and of other files that origins send, by the first bytes, without decoding."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Kind:
    """A format of listing photos. `decoder` is Pillow's name for the format; `extension` has no dot."""

    decoder: str
    content_type: str
    extension: str


JPEG = Kind("JPEG", "image/jpeg", "jpg")
PNG = Kind("PNG", "image/png", "png")
WEBP = Kind("WEBP", "image/webp", "webp")
GIF = Kind("GIF", "image/gif", "gif")
AVIF = Kind("AVIF", "image/avif", "avif")
KINDS = (JPEG, PNG, WEBP, GIF, AVIF)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AVIF_SIDES = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_OTHER_FORMATS = (
    ("HEIC", re.compile(rb".{4}ftyp(?:.{8}(?:.{4})*?)?(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("BMP", re.compile(rb"BM.{4}\0{4}|BM.{12}[\x0c-\x7c]\0{3}", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
    ("JPEG 2000", re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n")),
    ("JPEG XR", re.compile(rb"II\xbc[\0\x01]")),
    (
        "SVG",
        re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!DOCTYPE )?svg[\s>]", re.DOTALL),
    ),
    ("Photoshop", re.compile(rb"8BPS\0[\x01\x02]")),
    ("ICO", re.compile(rb"\0\0[\x01\x02]\0[^\0]\0")),
    ("PDF", re.compile(rb"%PDF-")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("film", re.compile(rb".{4}(?:ftyp|moov)|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba", re.DOTALL)),
)
"""Formats that are no photo formats here, each with a pattern of its first bytes. The first that matches counts."""
_HEAD_BYTES = 512


class EndsEarly(Exception):
    """The bytes of a photo end early, or fail their checksums."""


def kind_of(source: Path) -> Kind | None:
    """Return the format of the photo in the file `source`, by its first bytes.

    Return None if the first bytes are of no known format, or if the file is empty.
    """
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(PNG_SIGNATURE):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return AVIF if _is_avif(head) else None


def other_format(source: Path) -> str | None:
    """Return the name of the format of a file that is no photo, such as "PDF", by its first bytes.

    Return None if the first bytes are of no format that has a name here.
    """
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((name for name, pattern in _OTHER_FORMATS if pattern.match(head)), None)


def _is_avif(head: bytes) -> bool:
    # HEIC has the same container and the brand mif1 too. Only avif or avis, as major or compatible brand, means AVIF.
    brands = head[8:12] + head[16 : int.from_bytes(head[:4], "big")]
    return head[4:8] == b"ftyp" and any(brands[i : i + 4] in (b"avif", b"avis") for i in range(0, len(brands), 4))


def announced_sides(source: Path, kind: Kind) -> tuple[int, int]:
    """Return the width and height in pixels from the header of an AVIF file; (0, 0) if the header does not give them.

    For all other formats, return (0, 0). Called before the photo is decoded, to find out whether it has too many
    pixels: the decoder of AVIF reports a photo that is too large for it only as one with an unreadable header.
    """
    if kind is not AVIF:
        return 0, 0
    with source.open("rb") as file:
        found = _AVIF_SIDES.search(file.read(65_536))
    return (int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big")) if found else (0, 0)


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read exactly `size` bytes. Raises EndsEarly if there are fewer."""
    data = file.read(size)
    if len(data) < size:
        raise EndsEarly("the data ends early")
    return data
