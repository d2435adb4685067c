"""Recognizes the format of a photo by its bytes, and finds incomplete files, without decoding."""

import os
import re
import zlib
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

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AVIF_SIDES = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""Matches all markers except those that occur within compressed pixels, which have no length field."""
_JPEG_END = b"\xff\xd9"
_GIF_TRAILER, _GIF_EXTENSION, _GIF_FRAME = b";", b"!", b","


class EndsEarly(Exception):
    """The bytes of a photo end early, or fail their checksums."""


def kind_of(source: Path) -> Kind | None:
    """Return the format of the photo in the file `source`, by its first bytes.

    Return None if these are of no known format, or the file is empty.
    """
    with source.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(_PNG_SIGNATURE):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return AVIF if _is_avif(head) else None


def _is_avif(head: bytes) -> bool:
    # HEIC has the same container and the brand mif1 too. Only avif or avis, as major or compatible brand, means AVIF.
    brands = head[8:12] + head[16 : int.from_bytes(head[:4], "big")]
    return head[4:8] == b"ftyp" and any(brands[i : i + 4] in (b"avif", b"avis") for i in range(0, len(brands), 4))


def announced_sides(source: Path, kind: Kind) -> tuple[int, int]:
    """Return the width and height in pixels from an AVIF's header; (0, 0) if it gives none, and for other formats.

    Called before the photo is decoded, to tell that it has too many pixels: the decoder of AVIF only reports an
    unreadable header for a picture that is too large for it.
    """
    if kind is not AVIF:
        return 0, 0
    with source.open("rb") as file:
        found = _AVIF_SIDES.search(file.read(65_536))
    return (int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big")) if found else (0, 0)


def check_ending(source: Path, kind: Kind) -> None:
    """Raise EndsEarly for a JPEG, PNG or GIF that is cut or damaged in a place that the decoder does not check.

    The decoder finds a cut WebP or AVIF itself. But it accepts one JPEG in thirty without its last marker, reads a
    PNG only up to its last pixel, without later checksums, and a GIF only up to the end of its first frame.
    """
    check = {JPEG: _check_jpeg, PNG: _check_png, GIF: _check_gif}.get(kind)
    if check is not None:
        with source.open("rb") as file:
            check(file)


def _check_jpeg(file: BinaryIO) -> None:
    while _next_marker(file) != _JPEG_END:
        file.seek(int.from_bytes(_read(file, 2), "big") - 2, os.SEEK_CUR)


def _next_marker(file: BinaryIO) -> bytes:
    """Move the file behind the next JPEG marker that has a length field or ends the picture; return the marker's bytes.

    Raises EndsEarly if no such marker follows.
    """
    while True:
        start, block = file.tell(), file.read(4_096)
        if found := _JPEG_MARKER.search(block):
            file.seek(start + found.end())
            return found[0]
        if len(block) < 2:
            raise EndsEarly("the data ends early")
        file.seek(-1, os.SEEK_CUR)  # a marker may lie across two blocks


def _check_png(file: BinaryIO) -> None:
    file.seek(len(_PNG_SIGNATURE))
    name = b""
    while name != b"IEND":
        length = int.from_bytes(_read(file, 4), "big")
        name = _read(file, 4)
        if _checksum(file, length, zlib.crc32(name)) != int.from_bytes(_read(file, 4), "big"):
            raise EndsEarly(f"the checksum of a PNG chunk {name!r} is wrong")


def _checksum(file: BinaryIO, length: int, crc: int) -> int:
    """Read the next `length` bytes, and return the CRC-32 up to their end. `crc` is the CRC-32 up to their start."""
    while length:
        block = _read(file, min(length, 65_536))
        crc = zlib.crc32(block, crc)
        length -= len(block)
    return crc


def _check_gif(file: BinaryIO) -> None:
    _skip_colour_table(file, _read(file, 13)[10])
    while (block := _read(file, 1)) != _GIF_TRAILER:
        if block == _GIF_FRAME:
            _skip_colour_table(file, _read(file, 9)[8])
        elif block != _GIF_EXTENSION:
            raise EndsEarly("a GIF block is of no known kind")
        _read(file, 1)  # the extension's label, or the frame's code size
        while size := _read(file, 1)[0]:
            _read(file, size)


def _skip_colour_table(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _read(file, 3 * 2 ** ((flags & 7) + 1))


def _read(file: BinaryIO, size: int) -> bytes:
    """Read exactly `size` bytes. Raises EndsEarly if there are fewer."""
    data = file.read(size)
    if len(data) < size:
        raise EndsEarly("the data ends early")
    return data
