"""Checks the untrusted bytes of a photo as far as that needs no decoding, then decodes them."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from services.downloader import (
    colours,
    complete_gif,
    complete_jpeg,
    complete_png,
    exif,
    magic,
    memory,
    resizer,
    resizing,
    webp,
)
from services.downloader.resizing import Sides
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

_PLUGINS = (AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
"""The formats that Pillow reads here: importing a plugin registers its format, and no other."""
_COPY = "complete"
"""The name of the file with the copy of a photo that is decoded in its place."""
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the pool of children keeps every core busy; a thread more only costs memory


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A decoded photo, large enough for all its variants. `image` is upright, in sRGB, and in mode RGB or RGBA.

    `sides` are the upright width and height of the photo as received. `rights` is the EXIF block for the photo's
    variants, empty for none.
    """

    image: Image.Image
    sides: Sides
    rights: bytes


def decode(
    source: Path, into: Path, kind: magic.Kind, specs: Sequence[VariantSpec], max_pixels: int, memory_limit: int | None
) -> DecodedPhoto | Failure:
    """Decode the photo in the file `source`, of the format `kind`, large enough for its variants `specs`.

    A PNG, and a JPEG without its end, is first copied to the folder `into`, and the copy is decoded. `memory_limit` is
    how many bytes decoding may take on top of what the process has, None for no limit. Return a Failure for any bytes
    that cannot be decoded, and for a photo that has more than `max_pixels` pixels or would need more memory. Raises
    MemoryError if decoding turns out to need more memory than was estimated, and OSError if a file cannot be read or
    written.
    """
    # Pillow raises its error at twice the limit. The limit also guards what opening a WebP would allocate.
    Image.MAX_IMAGE_PIXELS = max_pixels // 2
    is_read_whole = kind in (magic.WEBP, magic.AVIF)
    if is_read_whole and memory_limit is not None and 2 * source.stat().st_size > memory_limit:
        return Failure(Reason.TOO_MUCH_MEMORY, "the file is too large for a format that is read as a whole")
    if math.prod(magic.announced_sides(source, kind)) > max_pixels:
        return _too_many_pixels(max_pixels)
    try:
        with warnings.catch_warnings(action="ignore"):
            return _decode(source, into, kind, specs, max_pixels, memory_limit)
    except Image.DecompressionBombError:
        return _too_many_pixels(max_pixels)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return Failure(Reason.BROKEN_IMAGE, f"a {kind.decoder} without a readable header")
    except OSError as error:
        if error.errno is not None:  # the system's error, and none of a decoder
            raise
        return Failure(Reason.BROKEN_IMAGE, f"{kind.decoder}: {str(error)[:200]}")
    except Exception as error:  # noqa: BLE001  # decoders raise nearly everything over hostile bytes
        return Failure(Reason.BROKEN_IMAGE, f"{kind.decoder}: {str(error)[:200] or type(error).__name__}")


def _decode(
    source: Path, into: Path, kind: magic.Kind, specs: Sequence[VariantSpec], max_pixels: int, memory_limit: int | None
) -> DecodedPhoto | Failure:
    if kind is magic.PNG:
        copy = into / _COPY
        complete_png.copy_picture(source, copy)
        source = copy
    with Image.open(source, formats=[kind.decoder]) as image:
        if math.prod(image.size) > max_pixels:
            return _too_many_pixels(max_pixels)
        complete = _complete(image, source, into, kind, memory_limit)
        if isinstance(complete, Failure):
            return complete
        if complete == source:
            return _decode_opened(image, source, specs, memory_limit)
    with Image.open(complete, formats=[kind.decoder]) as image:
        return _decode_opened(image, complete, specs, memory_limit)


def _too_many_pixels(max_pixels: int) -> Failure:
    return Failure(Reason.TOO_MANY_PIXELS, f"the picture has more than {max_pixels} pixels")


def _complete(
    image: Image.Image, source: Path, into: Path, kind: magic.Kind, memory_limit: int | None
) -> Path | Failure:
    """Return a file with the complete photo: `source`, or a copy in `into` if `source` is a JPEG without an end marker.

    `image` is the opened photo. Return a Failure if a JPEG without an end marker needs more memory than `memory_limit`.
    Raises EndsEarly for a JPEG or GIF that lacks pixels. In other formats the decoder itself finds missing pixels. But
    it accepts one in thirty JPEGs without their last bytes, and GIFs whose later frames are cut.
    """
    if kind is magic.GIF:
        with source.open("rb") as file:
            complete_gif.check_frames(file)
    if kind is not magic.JPEG:
        return source
    with source.open("rb") as file:
        end = complete_jpeg.end_of_pixels(file)
        if end is None:
            return source
        needed = memory.needed_at_full_size(image) + 3 * end
        if memory_limit is not None and needed > memory_limit:
            return _too_much_memory(needed)
        file.seek(0)
        data = file.read(end)
    with memory.limited(memory_limit):
        data = complete_jpeg.with_an_end(data)
    copy = into / _COPY
    copy.write_bytes(data)
    return copy


def _too_much_memory(needed: int) -> Failure:
    return Failure(Reason.TOO_MUCH_MEMORY, f"the picture needs about {needed // 10**6} MB to decode")


def _decode_opened(
    image: Image.Image, source: Path, specs: Sequence[VariantSpec], memory_limit: int | None
) -> DecodedPhoto | Failure:
    stored = image.size
    size = _stored_size(stored, exif.orientation(image), specs)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, size)  # decodes at a half, a quarter or an eighth, where that is still large enough
    still = webp.read_still(source.read_bytes()) if image.format == "WEBP" else None
    encoding = memory.bytes_to_encode(specs)
    needed = memory.needed(image, size, encoding) if still is None else memory.needed_webp(still, size, encoding)
    if memory_limit is not None and needed > memory_limit:
        return _too_much_memory(needed)
    if needed > memory.KEPT_BYTES:
        memory.give_back()  # so that no memory of earlier photos is kept beside a large one
    with memory.limited(memory_limit):
        if still is None:
            image.load()
        orientation = exif.orientation(image)  # read again: a PNG may hold its EXIF block after its pixels
        size = _stored_size(stored, orientation, specs)
        reduced, box = resizing.reduced(image, stored, size) if still is None else resizing.reduced_webp(still, size)
    rights, icc_profile = exif.rights(image), image.info.get("icc_profile")
    if math.prod(reduced.size) > resizing.BASE_PIXELS or box[2:] != reduced.size:
        # Not within the limit: a lack of memory would end the process, and how much memory this takes is known.
        reduced = resizer.resize(reduced, size, box)
    base = exif.turned_upright(colours.in_srgb(reduced, icc_profile), orientation)
    return DecodedPhoto(base, exif.upright_sides(stored, orientation), rights)


def _stored_size(stored: Sides, orientation: int, specs: Sequence[VariantSpec]) -> Sides:
    """Return the width and height at which to decode a photo for its variants `specs`.

    The result is for the picture as it is stored, before it is turned upright: for a picture that is stored on its
    side, width and height are swapped. `stored` are the sides of the picture in the file, and `orientation` is its EXIF
    orientation, 1 to 8.
    """
    size = resizing.base_size(exif.upright_sides(stored, orientation), specs)
    return exif.upright_sides(size, orientation)
