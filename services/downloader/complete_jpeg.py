"""Finds where the pixels of a JPEG end, and tells a JPEG that only lacks its end from one that lacks pixels.

Browsers show a JPEG without its last marker. They also show a JPEG with other data in place of that marker, such as the
film of a phone's "motion photo". libjpeg refuses such a JPEG or fills it with grey, depending on what follows the
pixels.
"""

import hashlib
import io
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL import Image

from services.downloader.magic import EndsEarly, read_exactly

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Matches all markers except those that occur within compressed pixels."""
_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_SEQUENTIAL = (b"\xff\xc0", b"\xff\xc1")
_PROGRESSIVE = b"\xff\xc2"
_FILM = re.compile(rb"\0\0..ftyp", re.DOTALL)
_ZEROS = 16
"""This many zero bytes at the end are not pixels: a server sends them in place of data that it does not have."""
_ZEROS_OF_PIXELS = 4
"""How many of these zero bytes may still belong to the last pixels: an even area of a picture is coded as zeros."""
_STRIP_ROWS = 64


@dataclass(slots=True)
class _Scans:
    """Collects which coefficients of each colour component the scans of a JPEG have given, and which bits are missing.

    A progressive JPEG spreads the coefficients and their bits over several scans. Any other JPEG gives all of a
    component in one scan.
    """

    components: set[int] = field(default_factory=set)
    is_progressive: bool = False
    missing_bits: dict[tuple[int, int], int] = field(default_factory=dict)
    """By component and number of the coefficient (0 to 63): how many of its low bits no scan has given yet."""

    def read_frame(self, name: bytes, segment: bytes) -> None:
        """Note the colour components that a frame header (SOF) lists, and whether the JPEG is progressive.

        `name` is the header's marker, and `segment` are the header's bytes behind its length.
        """
        self.is_progressive = name == _PROGRESSIVE
        self.components = {segment[6 + 3 * index] for index in range(segment[5])}

    def read_scan(self, segment: bytes) -> None:
        """Note which coefficients a scan gives, and which of their bits are missing, from the scan's header (SOS).

        `segment` are the header's bytes behind its length.
        """
        count = segment[0]
        first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
        coefficients = range(first, min(last, 63) + 1) if self.is_progressive else range(64)
        for component in segment[1 : 1 + 2 * count : 2]:
            for number in coefficients:
                self.missing_bits[component, number] = bits & 15 if self.is_progressive else 0

    @property
    def are_all_here(self) -> bool:
        """True if the scans read so far give each component's coefficients with all bits. The last scan may be cut."""
        wanted = [(component, number) for component in self.components for number in range(64)]
        return bool(wanted) and all(self.missing_bits.get(key) == 0 for key in wanted)


def end_of_pixels(file: BinaryIO) -> int | None:
    """Return the position in the file at which the pixels of a JPEG end; None if the end marker follows, as it should.

    The last pixels before the returned position may be missing: `with_an_end` finds out. Raises EndsEarly if whole
    scans are missing, or a segment is too short.
    """
    scans = _Scans()
    try:
        while True:
            at, name = _next_marker(file)
            if name == _END:
                return None
            if scans.are_all_here:
                return at
            if name == _START:
                continue
            segment = read_exactly(file, int.from_bytes(read_exactly(file, 2), "big") - 2)
            if name in (*_SEQUENTIAL, _PROGRESSIVE):
                scans.read_frame(name, segment)
            elif name == _SCAN:
                scans.read_scan(segment)
    except (IndexError, ValueError) as error:
        raise EndsEarly("a JPEG segment is too short") from error
    except EndsEarly:
        if not scans.are_all_here:
            raise
        return file.seek(0, io.SEEK_END)


def _next_marker(file: BinaryIO) -> tuple[int, bytes]:
    """Move the file's position behind the next JPEG marker that does not belong to compressed pixels.

    Return the marker's position and its two bytes. Raises EndsEarly if no such marker follows.
    """
    while True:
        start, block = file.tell(), file.read(4_096)
        if found := _MARKER.search(block):
            file.seek(start + found.end())
            return start + found.start(), found[0]
        if len(block) < 2:
            raise EndsEarly("the data ends early")
        file.seek(-1, io.SEEK_CUR)  # a marker may lie across two blocks


def with_an_end(data: bytes) -> bytes:
    """Return a JPEG that lacks its end marker with the marker added. Raises EndsEarly if pixels are missing.

    `data` are the bytes of the JPEG up to the position that `end_of_pixels` returned. Bytes at the end that do not
    belong to the picture are cut off. libjpeg decodes missing pixels from whatever bytes follow. The picture is
    therefore decoded with several different endings: if the results differ, pixels are missing.
    """
    data = _without_other_data(data)
    first, *others = (_pixels(data + filling + _END) for filling in _fillings())
    if any(pixels != first for pixels in others):
        raise EndsEarly("the pixels end early")
    return data + _END


def _without_other_data(data: bytes) -> bytes:
    film = _FILM.search(data, data.rindex(_SCAN))
    data = data[: film.start()] if film else data
    without_zeros = data.rstrip(b"\0")
    if len(data) - len(without_zeros) >= _ZEROS:
        data = without_zeros + bytes(_ZEROS_OF_PIXELS)
    return data.rstrip(b"\xff")  # the first half of a marker, or of a byte of pixels that is cut


def _fillings() -> Iterator[bytes]:
    """Yield byte strings to append to a JPEG without its end: libjpeg decodes them as pixels if any pixels are missing.

    The first string is empty. The others start with different codes, so that missing pixels look different with each.
    Each of the others holds restart markers, because libjpeg continues behind a restart marker in any case. Their first
    restart markers differ too, because libjpeg skips pixels if it takes a marker for the next but one.
    """
    yield b""
    noise = random.Random(0)  # noqa: S311 - always the same
    for first in (0x2B, 0x4D, 0x73, 0x96, 0xB5, 0xDA):
        pieces = (bytes(noise.randrange(255) for _ in range(24)) for _ in range(17))
        restarts = (b"\xff" + bytes([0xD0 + (first + number) % 8]) for number in range(16))
        yield bytes([first]) + next(pieces) + b"".join(restart + next(pieces) for restart in restarts)


def _pixels(data: bytes) -> bytes:
    """Return the hash of a JPEG's pixels, decoded at full size."""
    digest = hashlib.sha256()
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        image.load()
        for top in range(0, image.height, _STRIP_ROWS):
            digest.update(image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height))).tobytes())
    return digest.digest()
