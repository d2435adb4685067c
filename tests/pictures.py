"""Builds small pictures of each format that an origin may send, and of some that it should not.

Most have four quarters of different colours, so that a test can tell by the pixels whether a picture was turned or cut.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

Colour = tuple[int, int, int]
XYZ = tuple[float, float, float]

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 40), (30, 40, 200), (230, 220, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""

ORIENTATION, MAKE, ARTIST, COPYRIGHT, GPS = 0x0112, 0x010F, 0x013B, 0x8298, 0x8825

_STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Return an RGB picture whose four quarters have the colours of `CORNERS`."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize((width, height), Image.Resampling.NEAREST)


def glass(width: int = 64, height: int = 48) -> Image.Image:
    """Return the picture of `corners` with an opaque upper half and a fully transparent lower half."""
    image = corners(width, height)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, height // 2, width, height))
    image.putalpha(alpha)
    return image


def grain(width: int = 64, height: int = 48) -> Image.Image:
    """Return an RGB picture of noise. It does not compress well, so each cut of its file loses pixels."""
    noise = Image.effect_noise((width, height), 80)
    return Image.merge("RGB", (noise, noise.transpose(Image.Transpose.ROTATE_180), noise))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture as a camera stores it when it writes this EXIF orientation."""
    return image.transpose(_STORED_AS[orientation]) if orientation in _STORED_AS else image


def exif(tags: Mapping[int, object], gps: Mapping[int, object] | None = None) -> bytes:
    """Return an EXIF block with these tags, and with `gps` as its tags of the place, if any."""
    block = Image.Exif()
    for tag, value in tags.items():
        block[tag] = value
    if gps:
        block.get_ifd(GPS).update(gps)
    return block.tobytes()


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return the picture as the bytes of a file.

    `form` is Pillow's name of the format, `options` what its writer gets.
    """
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(
    size: tuple[int, int], *, depth: int, colour_type: int, rows: bytes, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """Return the bytes of a PNG made of raw rows, each with its filter byte.

    Its depth may be one that Pillow cannot write. `extra` are chunks, each a name and its data, that stand before the
    pixels.
    """
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    chunks = (b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in chunks)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG with a correct checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_late_chunk(file: bytes, name: bytes, data: bytes) -> bytes:
    """Return the PNG `file` with a chunk inserted after its pixels."""
    end = file.rindex(b"IEND") - 4
    return file[:end] + png_chunk(name, data) + file[end:]


def damaged(file: bytes, at: int) -> bytes:
    """Return the file's bytes with all bits of the byte at position `at` inverted."""
    return file[:at] + bytes([file[at] ^ 0xFF]) + file[at + 1 :]


def bombs(side: int) -> dict[str, bytes]:
    """Return, by format, files of a few hundred bytes whose headers announce `side` x `side` pixels.

    Lossless and extended WebP can announce sides of up to 16,384 pixels.
    """
    small = Image.new("RGB", (16, 16), RED)
    jpeg = bytearray(encoded(small, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    gif = bytearray(encoded(small, "GIF"))
    gif[6:10] = struct.pack("<HH", side, side)
    frame_only = bytearray(encoded(small, "GIF"))
    picture = frame_only.rindex(b",", 0, -10)
    frame_only[picture + 5 : picture + 9] = struct.pack("<HH", side, side)
    lossy = bytearray(encoded(small, "WEBP"))
    lossy[26:30] = struct.pack("<HH", side - 1, side - 1)
    lossless = bytearray(encoded(small, "WEBP", lossless=True))
    lossless[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    extended = bytearray(encoded(small, "WEBP", exif=exif({ARTIST: "A"})))
    extended[24:30] = struct.pack("<I", side - 1)[:3] * 2
    avif = bytearray(encoded(small, "AVIF"))
    box = avif.index(b"ispe")
    avif[box + 8 : box + 16] = struct.pack(">II", side, side)
    return {
        "JPEG": bytes(jpeg),
        "PNG": png((side, side), depth=8, colour_type=6, rows=b"\0" * 1000),
        "GIF": bytes(gif),
        "GIF whose frame is larger than its canvas": bytes(frame_only),
        "lossy WebP": bytes(lossy),
        "lossless WebP": bytes(lossless),
        "extended WebP": bytes(extended),
        "AVIF": bytes(avif),
    }


def rgb_profile(name: str, red: XYZ, green: XYZ, blue: XYZ, gamma: float) -> bytes:
    """Return an ICC profile of RGB with three primaries (XYZ under D50) and one gamma."""
    primaries = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"RGB ", b"XYZ ", name, {tag: _xyz(value) for tag, value in primaries.items()} | curves)


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of grey with this gamma."""
    return _profile(b"GRAY", b"XYZ ", "a grey", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """Return an ICC profile of CMYK whose cyan ink prints a neutral grey, and whose other inks print nothing."""
    straight = bytes(range(256))
    table = b"".join(bytes([128 if cyan else 255, 128, 128]) for cyan in (0, 1) for _ in range(8))
    unchanged = b"".join(_fixed(float(value)) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    shape = bytes([4, 3, 2, 0])  # from 4 inks to 3 values, through a table of 2 points an ink
    table = b"mft1" + bytes(4) + shape + unchanged + straight * 4 + table + straight * 3
    return _profile(b"CMYK", b"Lab ", "a press", {b"A2B0": table})


def _profile(space: bytes, connection: bytes, name: str, tags: Mapping[bytes, bytes]) -> bytes:
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
    } | dict(tags)
    at, index, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        index += tag + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = b"".join(
        [
            struct.pack(">I4xI", at + len(body), 0x02400000),
            *(kind, space, connection),
            struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28),
            _xyz(_D50)[8:] + bytes(48),
        ]
    )
    return header + index + body


_D50 = (0.9642, 1.0, 0.8249)


def _xyz(value: XYZ) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, value))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


DISPLAY_P3 = rgb_profile("P3", (0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841), 2.2)
ADOBE_RGB = rgb_profile("Adobe", (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446), 2.2)


def written(folder: Path, content: bytes, name: str = "download") -> Path:
    """Write the bytes to a file in the folder, and return its path."""
    path = folder / name
    path.write_bytes(content)
    return path
