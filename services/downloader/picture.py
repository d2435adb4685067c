"""Turns the file of a photo into its variants. Runs in a child process (`encoders`): the bytes are untrusted."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import thash
from PIL import Image

from services.downloader import decoding, magic, resizing
from services.downloader.decoding import DecodedPhoto
from services.downloader.resizing import Sides
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

_WEBP_METHOD = 2  # takes half of the time of the default (4), for files that are 3 % larger
_AVIF_SPEED = 9  # takes half of the time of 8, and a seventh of the default (6), for files that are 1 to 8 % larger
_THUMBHASH_SIDE = 20  # a ThumbHash keeps 7 x 7 frequencies: 100 pixels add nothing, and cost 25 times as much


@dataclass(frozen=True, slots=True)
class EncodedVariant:
    """A variant in the file `path`: `width` and `height` in pixels, `file_size` in bytes, `extension` without a dot.

    `is_cropped` is True if the setting asks for a crop. Variants of equal pixels, format and quality share a file.
    """

    name: str
    path: Path
    width: int
    height: int
    file_size: int
    content_type: str
    extension: str
    is_cropped: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of encoding a photo: the format and the upright sides of the photo as received, and its variants.

    `content_type` and `extension` say the photo's own format, which is recognized by its bytes. `width` and `height`
    are in pixels. `thumbhash` is in Base64. The variants are sorted by their number of pixels, largest first.
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
    None for no limit. Return the Encoded photo, or a Failure. The photo fails if its bytes are of no known format or
    cannot be decoded, if it has more than `max_pixels` pixels, or if it needs more memory. Raises OSError if a file
    cannot be read or written.
    """
    kind = magic.kind_of(source)
    if kind is None:
        return _no_photo(magic.other_format(source))
    try:
        photo = decoding.decode(source, into, kind, specs, max_pixels, memory_limit)
        if isinstance(photo, Failure):
            return photo
        return Encoded(kind.content_type, kind.extension, *photo.sides, *_write_variants(photo, into, specs))
    except MemoryError:
        return Failure(Reason.TOO_MUCH_MEMORY, "the picture needs more memory than a picture may take")


def _no_photo(format_name: str | None) -> Failure:
    if format_name is None:
        return Failure(Reason.NOT_AN_IMAGE, "the first bytes are of no known photo format")
    return Failure(Reason.UNSUPPORTED_FORMAT, f"the file is {format_name}")


def _write_variants(
    photo: DecodedPhoto, into: Path, specs: Sequence[VariantSpec]
) -> tuple[str, tuple[EncodedVariant, ...]]:
    """Write the variants `specs` of the photo to files in the folder `into`; return its ThumbHash and the variants.

    The variants are sorted, largest first. Variants of equal pixels, format and quality share a file.
    """
    files: dict[tuple[tuple[Sides, bool], str, int], Path] = {}
    image, made, smallest = photo.image, None, photo.image
    variants = []
    for spec in sorted(specs, key=partial(_largest_first, photo.sides)):
        pixels = (resizing.variant_size(photo.sides, spec), spec.is_cropped)
        if pixels != made:
            image, made = resizing.variant(photo.image, photo.sides, spec), pixels
            smallest = smallest if spec.is_cropped else image
        path = files.setdefault((pixels, spec.format, spec.quality), into / f"{spec.name}.{spec.extension}")
        if path.stem == spec.name:
            _save(image, path, spec, photo.rights)
        file = path, *image.size, path.stat().st_size, spec.content_type, spec.extension
        variants.append(EncodedVariant(spec.name, *file, spec.is_cropped))
    return _thumbhash(smallest), tuple(variants)


def _largest_first(sides: Sides, spec: VariantSpec) -> tuple[int, bool, int]:
    return -math.prod(resizing.variant_size(sides, spec)), spec.is_cropped, -spec.width


def _save(image: Image.Image, path: Path, spec: VariantSpec, rights: bytes) -> None:
    if spec.format == "webp":
        image.save(path, "WEBP", quality=spec.quality, method=_WEBP_METHOD, exif=rights)
    elif spec.format == "avif":
        image.save(path, "AVIF", quality=spec.quality, speed=_AVIF_SPEED, max_threads=1, exif=rights)
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
    return base64.b64encode(bytes(thash.rgba_to_thumb_hash_pure(*tiny.size, pixels))).decode()
