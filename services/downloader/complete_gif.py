"""Finds a GIF that ends within a frame. The decoder reads a GIF only up to the end of its first frame."""

from typing import BinaryIO

from services.downloader.magic import EndsEarly, read_exactly

_EXTENSION, _FRAME, _ZERO = b"!", b",", b"\0"


def check_frames(file: BinaryIO) -> None:
    """Raise EndsEarly if the GIF has no frame, or ends within one.

    Zero bytes between blocks are skipped, and any other byte that starts no block counts as the end of the GIF.
    Browsers do the same: the GIF's own end mark (the trailer) is often missing.
    """
    _skip_colour_table(file, read_exactly(file, 13)[10])
    has_frame = False
    while block := file.read(1):
        if block == _FRAME:
            _skip_frame(file, is_first=not has_frame)
            has_frame = True
        elif block == _EXTENSION:
            file.read(1)  # its label
            while size := file.read(1).rjust(1, b"\0")[0]:
                file.read(size)
        elif block != _ZERO:
            break
    if not has_frame:
        raise EndsEarly("the data ends before the first frame")


def _skip_frame(file: BinaryIO, *, is_first: bool) -> None:
    """Move the file's position behind a frame. Raises EndsEarly if the frame is incomplete.

    If the data of the first frame end without an end mark, nothing is raised: the decoder itself finds pixels that are
    missing in the first frame.
    """
    _skip_colour_table(file, read_exactly(file, 9)[8])
    read_exactly(file, 1)  # the code size
    while size := file.read(1):
        if size == b"\0":
            return
        read_exactly(file, size[0])
    if not is_first:
        raise EndsEarly("a frame ends early")


def _skip_colour_table(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        read_exactly(file, 3 * 2 ** ((flags & 7) + 1))
