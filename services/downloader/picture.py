"""Turns the file of a photo into its variants. Runs in a child process (`encoders`): the bytes are untrusted."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import thash
from PIL import Image

from services.downloader import decoding, magic, resizing
from services.downloader.decoding import DecodedPhoto
from services.downloader.resizing import Sides
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

_WEBP_METHOD = 2  # takes half of the time of the default (4), for files that are 3 % larger
_THUMBHASH_SIDE = 20  # a ThumbHash keeps 7 x 7 frequencies: 100 pixels add nothing, and cost 25 times as much


@dataclass(frozen=True, slots=True)
class EncodedVariant:
    """A variant in the file `path`: `width` and `height` in pixels, `file_size` in bytes, `extension` without a dot.

    Variants of equal sides, format and quality share a file.
    """

    name: str
    path: Path
    width: int
    height: int
    file_size: int
    content_type: str
    extension: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of encoding a photo: the format and the upright sides of the photo as received, and its variants.

    `content_type` and `extension` are those of the photo's own format, which is recognized by its bytes. `width` and
    `height` are in pixels. `thumbhash` is in Base64. The variants are sorted by their number of pixels, largest first.
    """

    content_type: str
    extension: str
    width: int
    height: int
    thumbhash: str
    variants: tuple[EncodedVariant, ...]


def encode(
    source: Path, into: Path, specs: Sequence[VariantSpec], max_pixels: int, memory_limit: int | None = None
) -> Encoded | Failure:
    """Write the variants of the photo in the file `source` to files in the folder `into`.

    `specs` are the variants to make. `memory_limit` is how many bytes decoding may take on top of what the process has,
    None for no limit. Return the Encoded photo, or a Failure if its bytes are of no known format or cannot be decoded,
    if it has more than `max_pixels` pixels, or if it needs more memory. Raises OSError if a file cannot be read or
    written.
    """
    kind = magic.kind_of(source)
    if kind is None:
        return _no_photo(magic.other_format(source))
    try:
        photo = decoding.decode(source, kind, specs, max_pixels, memory_limit)
        if isinstance(photo, Failure):
            return photo
        variants, smallest = _write_variants(photo, into, specs)
        return Encoded(kind.content_type, kind.extension, *photo.sides, _thumbhash(smallest), variants)
    except MemoryError:
        return Failure(Reason.TOO_MUCH_MEMORY, "the picture needs more memory than a picture may take")


def _no_photo(format_name: str | None) -> Failure:
    if format_name is None:
        return Failure(Reason.NOT_AN_IMAGE, "the first bytes are of no known photo format")
    return Failure(Reason.UNSUPPORTED_FORMAT, f"the file is {format_name}")


def _write_variants(
    photo: DecodedPhoto, into: Path, specs: Sequence[VariantSpec]
) -> tuple[tuple[EncodedVariant, ...], Image.Image]:
    """Write the variants `specs` of the photo to files in the folder `into`, each resized from the next larger one.

    Return the variants, largest first, and the picture of the smallest, for the thumbhash. Variants of equal sides,
    format and quality share a file.
    """
    image = photo.image
    if image.mode == "YCbCr" and any(spec.format != "jpeg" for spec in specs):
        image = image.convert("RGB")
    files: dict[tuple[Sides, str, int], Path] = {}
    variants = []
    for size, spec in sorted(((resizing.variant_size(photo.sides, spec), spec) for spec in specs), key=_largest_first):
        if image.size != size:
            image = resizing.resized(image, size)
        path = files.setdefault((size, spec.format, spec.quality), into / f"{spec.name}.{spec.extension}")
        if path.stem == spec.name:
            _save(image, path, spec, photo.rights)
        variants.append(EncodedVariant(spec.name, path, *size, path.stat().st_size, spec.content_type, spec.extension))
    return tuple(variants), image


def _largest_first(sized: tuple[Sides, VariantSpec]) -> tuple[int, int]:
    size, spec = sized
    return -math.prod(size), -spec.width


def _save(image: Image.Image, path: Path, spec: VariantSpec, rights: bytes) -> None:
    if spec.format == "webp":
        image.save(path, "WEBP", quality=spec.quality, method=_WEBP_METHOD, exif=rights)
    else:
        # Progressive: 5 % smaller, and a page shows something early. It takes 30 ms more for all three sizes.
        _on_white(image).save(path, "JPEG", quality=spec.quality, progressive=True, optimize=True, exif=rights)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _thumbhash(image: Image.Image) -> str:
    """Return the ThumbHash of a picture, in Base64."""
    tiny = image.copy()
    tiny.thumbnail((_THUMBHASH_SIDE, _THUMBHASH_SIDE))
    pixels = tiny.convert("RGB").convert("RGBA").tobytes()
    return base64.b64encode(bytes(thash.rgba_to_thumb_hash(*tiny.size, pixels))).decode()
