"""Copies of a PNG the chunks that make its picture, so that faults of other chunks do not matter, as in browsers."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from services.downloader.magic import PNG_SIGNATURE, EndsEarly, read_exactly

_PIXELS = b"IDAT"
_OF_PICTURE = (b"IHDR", b"PLTE", _PIXELS)
_KEPT = (b"tRNS", b"iCCP", b"eXIf")
"""The chunks that are kept beside those of the picture, if their checksum is right. Text and XMP are left out: Pillow
refuses a PNG with over 1 MB of either."""
_MAX_PROFILE_BYTES = 1_000_000
_BLOCK_BYTES = 65_536


def copy_picture(source: Path, copy: Path) -> None:
    """Copy the PNG `source` to the file `copy`: its header, its palette, its pixels, and what matters to how they look.

    The copy ends where `source` ends, or at the IEND chunk of `source`, and always has an IEND chunk. Pixels that end
    early are copied as they are: the decoder finds out whether rows are missing. Raises EndsEarly if a chunk of the
    picture fails its checksum, or if the file ends before its pixels.
    """
    with source.open("rb") as file, copy.open("wb") as into:
        into.write(read_exactly(file, len(PNG_SIGNATURE)))
        has_pixels = False
        while (header := file.read(8)) and header[4:] != b"IEND":
            name = header[4:]
            if len(header) < 8 or not (name.isalpha() and name.isascii()):
                break
            has_pixels = _copy_chunk(file, into, int.from_bytes(header[:4], "big"), name) or has_pixels
        if not has_pixels:
            raise EndsEarly("the data ends before the pixels")
        _write_chunk(into, b"IEND", b"")


def _copy_chunk(file: BinaryIO, into: BinaryIO, length: int, name: bytes) -> bool:
    """Copy the chunk `name` if it matters to the picture, otherwise skip it. Return True if the chunk holds pixels.

    The chunk's data, `length` bytes, start at the position of `file`. Raises EndsEarly if a chunk of the picture fails
    its checksum. Pixels that the end of the file cuts off are copied without an error.
    """
    start = file.tell()
    checksum, size = _checksum(file, length, name)
    stored = file.read(4)
    is_intact = size == length and stored == checksum.to_bytes(4, "big")
    if name in _OF_PICTURE:
        is_cut = name == _PIXELS and len(stored) < 4  # by the end of the file
        if not (is_intact or is_cut):
            raise EndsEarly(f"the checksum of a PNG chunk {name!r} is wrong")
    elif not (is_intact and name in _KEPT):
        return False
    end = file.tell()
    file.seek(start)
    if name != b"iCCP" or _is_small_profile(file, size):
        file.seek(start)
        into.write(struct.pack(">I", size) + name)
        into.writelines(file.read(min(_BLOCK_BYTES, size - at)) for at in range(0, size, _BLOCK_BYTES))
        into.write(checksum.to_bytes(4, "big"))
    file.seek(end)
    return name == _PIXELS


def _checksum(file: BinaryIO, length: int, name: bytes) -> tuple[int, int]:
    """Read up to `length` bytes of the chunk `name`; return the chunk's CRC-32, and how many bytes were read."""
    crc, size = zlib.crc32(name), 0
    while block := file.read(min(length - size, _BLOCK_BYTES)):
        crc, size = zlib.crc32(block, crc), size + len(block)
    return crc, size


def _is_small_profile(file: BinaryIO, size: int) -> bool:
    """Return True if the colour profile in the next `size` bytes of the file is at most 1 MB when decompressed.

    Return False if the profile cannot be decompressed.
    """
    data = file.read(min(size, _MAX_PROFILE_BYTES))
    try:
        profile = zlib.decompressobj().decompress(data[data.index(b"\0") + 2 :], _MAX_PROFILE_BYTES + 1)
    except (ValueError, zlib.error):
        return False
    return len(profile) <= _MAX_PROFILE_BYTES


def _write_chunk(into: BinaryIO, name: bytes, data: bytes) -> None:
    into.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
