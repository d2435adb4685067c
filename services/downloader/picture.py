"""What is done with untrusted bytes: a photo is told by its bytes, checked, decoded and turned into its variants.

Runs in a process of its own (see `encoders`). The only module that knows PIL and thash.
"""

import base64
import ctypes
import io
import math
import resource
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import thash
from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    _webp,
)

from services.downloader import magic, webp
from shared.domain.failures import Failure, Reason
from shared.domain.variants import FORMATS, VariantSpec

KEPT_MEMORY = 40 * 2**20
"""Bytes that a process may keep of a photo for the next; one of 1920 x 1280 pixels takes 35 MB."""
_PLUGINS = (AvifImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Importing a plugin registers its format, and no other."""
_LIBWEBP = ctypes.CDLL(_webp.__file__)  # the library comes with what is linked to it
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the pool keeps every core busy; a thread more only costs memory

_ORIENTATION, _ARTIST, _COPYRIGHT = 0x0112, 0x013B, 0x8298
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_COLOURS = ("RGB", "YCbCr")
_SRGB = ImageCms.createProfile("sRGB")
_BAND_PIXELS = 1_000_000
_PIXELS_RESIZED_AT_LEISURE = 8_000_000
_WEBP_METHOD = 2  # half of the default's time (4), for files 3 % larger
_LONGEST_RIGHT = 2_000  # bytes: what is longer is no name, and a JPEG's EXIF holds no more than 65 kB
_THUMBHASH_SIDE = 20  # it keeps 7 x 7 frequencies: 100 pixels say no more, and cost 25 times as much


@dataclass(frozen=True, slots=True)
class EncodedVariant:
    """One variant as a file; sides in pixels, size in bytes. Equal variants share one file."""

    name: str
    path: Path
    width: int
    height: int
    file_size: int
    content_type: str
    extension: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of a photo: its own format by its bytes, its upright sides in pixels, its variants widest first."""

    content_type: str
    extension: str
    width: int
    height: int
    thumbhash: str
    variants: tuple[EncodedVariant, ...]


@dataclass(frozen=True, slots=True)
class _Photo:
    """A decoded photo: upright, sRGB, as large as the largest variant; RGB, RGBA, or YCbCr as its JPEG has it."""

    image: Image.Image
    sides: tuple[int, int]
    rights: bytes


def encode(
    source: Path, into: Path, specs: Sequence[VariantSpec], max_pixels: int, memory: int | None = None
) -> Encoded | Failure:
    """Write the variants of the photo in `source` into the folder `into`.

    `memory`, in bytes, is what decoding may take on top of what the process has; a photo that needs more is
    TOO_MUCH_MEMORY. Bad bytes are a Failure, whatever they are; OSError means that a file cannot be read or written.
    """
    kind = magic.kind_of(source)
    if kind is None:
        return Failure(Reason.NOT_AN_IMAGE, "the first bytes are of no known photo format")
    try:
        photo = _read(source, kind, specs, max_pixels, memory)
        if isinstance(photo, Failure):
            return photo
        return _write(photo, kind, into, specs)
    except MemoryError:
        return Failure(Reason.TOO_MUCH_MEMORY, "the picture needs more memory than a picture may take")


def _read(
    source: Path, kind: magic.Kind, specs: Sequence[VariantSpec], max_pixels: int, memory: int | None
) -> _Photo | Failure:
    # Half: the library makes an error of twice its limit. It also guards what opening a WebP would reserve.
    Image.MAX_IMAGE_PIXELS = max_pixels // 2
    if kind in (magic.WEBP, magic.AVIF) and memory is not None and 2 * source.stat().st_size > memory:
        return Failure(Reason.TOO_MUCH_MEMORY, "the file is too large for a format that is read as a whole")
    if math.prod(magic.announced(source, kind)) > max_pixels:
        return _too_many_pixels(max_pixels)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=[kind.decoder]) as image:
            if math.prod(image.size) > max_pixels:
                return _too_many_pixels(max_pixels)
            magic.check_ending(source, kind)
            return _decode(image, source, specs, memory)
    except Image.DecompressionBombError:
        return _too_many_pixels(max_pixels)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return Failure(Reason.BROKEN_IMAGE, f"a {kind.decoder} without a readable header")
    except Exception as error:  # noqa: BLE001  # decoders raise nearly everything over hostile bytes
        return Failure(Reason.BROKEN_IMAGE, f"{kind.decoder}: {str(error)[:200] or type(error).__name__}")


def _too_many_pixels(max_pixels: int) -> Failure:
    return Failure(Reason.TOO_MANY_PIXELS, f"the picture has more than {max_pixels} pixels")


def _decode(image: Image.Image, source: Path, specs: Sequence[VariantSpec], memory: int | None) -> _Photo | Failure:
    stored = image.size
    size = _largest(stored, _orientation(image), specs)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Decodes at a half, a quarter or an eighth, where that is still large enough, and in the file's own colours.
        image.draft("YCbCr" if _is_ycbcr(image) else None, size)
    still = webp.still(_LIBWEBP, source.read_bytes()) if image.format == "WEBP" else None
    needed = _memory_needed(image, math.prod(size)) if still is None else _memory_needed_still(still, size)
    if memory is not None and needed > memory:
        return Failure(Reason.TOO_MUCH_MEMORY, f"the picture needs about {needed // 10**6} MB to decode")
    if needed > KEPT_MEMORY:
        _give_memory_back()
    with _at_most(memory):
        if still is None:
            image.load()
        turned = _orientation(image)  # a PNG may say it after its pixels
        size = _largest(stored, turned, specs)
        small = _shrunk(image, stored, size) if still is None else _shrunk_still(still, size)
    small = _in_srgb(small, image.info.get("icc_profile"))
    if turned in _UPRIGHT:
        small = small.transpose(_UPRIGHT[turned])
    return _Photo(small, _upright(stored, turned), _rights(image))


def _is_ycbcr(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether libjpeg surely takes the file's three components for YCbCr, by the rules of its default_decompress_parms.

    Others it converts from what they are.
    """
    components = [layer[0] for layer in image.layer]
    return components == [1, 2, 3] and image.info.get("adobe_transform", 1) == 1


def _largest(stored: tuple[int, int], turned: int, specs: Sequence[VariantSpec]) -> tuple[int, int]:
    """Return the sides of the largest variant, as they lie in the stored picture."""
    sides = _upright(stored, turned)
    return _upright(max((_size(sides, spec) for spec in specs), key=math.prod), turned)


def _upright(sides: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (sides[1], sides[0]) if orientation >= 5 else sides


def _size(sides: tuple[int, int], spec: VariantSpec) -> tuple[int, int]:
    """Return a variant's sides: never larger than the photo, at least 1, and within what its format can hold."""
    width, height = sides
    longest = FORMATS[spec.format].longest_side
    scale = min(1.0, spec.width / width, longest / height, longest / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _orientation(image: Image.Image) -> int:
    value = _exif(image).get(_ORIENTATION)
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _exif(image: Image.Image) -> dict[int, object]:
    """Return the tags that matter, as far as they are known yet: `Image.getexif` would decode a PNG to find them."""
    try:
        found = Image.Exif()
        found.load(image.info.get("exif") or b"")
        return {tag: found[tag] for tag in (_ORIENTATION, _ARTIST, _COPYRIGHT) if tag in found}
    except Exception:  # noqa: BLE001  # metadata that cannot be read is no reason to refuse a photo
        return {}


def _rights(image: Image.Image) -> bytes:
    """Return the EXIF block that variants carry: artist and copyright, byte for byte, and nothing else."""
    found, kept = _exif(image), Image.Exif()
    for tag in (_ARTIST, _COPYRIGHT):
        if value := found.get(tag):
            text = value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
            kept[tag] = text[:_LONGEST_RIGHT]
    return kept.tobytes() if kept else b""


def _memory_needed(image: Image.Image, largest: int) -> int:
    """Estimate from its header what decoding a photo and encoding its largest variant takes, in bytes (measured)."""
    pixels = math.prod(image.size)
    decoded = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2, "YCbCr": 5}.get(image.mode, 4)
    shrinking = 8 * largest + 8_000_000
    if image.format == "WEBP":
        decoded = 16 * pixels  # an animation's decoder keeps two canvases, then come the frame as bytes and a picture
    elif image.format == "AVIF":
        decoded = (12 if image.mode == "RGBA" else 9) * pixels
    elif isinstance(image, JpegImagePlugin.JpegImageFile):
        decoded += _coefficients(image) if image.info.get("progressive") else 0
    else:
        shrinking = (22 if image.has_transparency_data else 14) * largest + 17_000_000  # bands, multiplied by alpha
    return max(decoded + shrinking, 17 * largest + 8_000_000)


def _memory_needed_still(photo: webp.Still, size: tuple[int, int]) -> int:
    pixels, read, largest = (math.prod(sides) for sides in (photo.sides, _sides_read(photo, size), size))
    decoded = 4 * pixels if photo.is_lossless else 2 * pixels if photo.has_alpha else 0
    shrinking = (22 if photo.has_alpha else 14) * largest + 17_000_000
    decoded += 4 * (read + min(read, _PIXELS_RESIZED_AT_LEISURE))
    return max(decoded + shrinking, 17 * largest + 8_000_000)


def _coefficients(image: JpegImagePlugin.JpegImageFile) -> int:
    """Return how much a progressive JPEG's coefficients take, two bytes each, all held until the last scan is read."""
    per_pixel = {0: 6, 1: 4, 2: 3}.get(JpegImagePlugin.get_sampling(image), 2 * len(image.getbands()))
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    return per_pixel * math.prod(image.size) * scale**2


@contextmanager
def _at_most(memory: int | None) -> Iterator[None]:
    """Let the process take no more than `memory` bytes on top of what it has; beyond that it gets MemoryError."""
    statm = Path("/proc/self/statm")
    if memory is None or not statm.exists():
        yield
        return
    has = int(statm.read_text().split()[5]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (has + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _give_memory_back() -> None:
    """Let the system have what earlier photos left, where the C library is glibc: a large photo starts with nothing."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _shrunk(image: Image.Image, stored: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Return the decoded photo at the largest variant's size, before anything else is done to it.

    Whole pixels are averaged first where the photo is several times too large, and always down to few enough to
    afford a copy; then comes the filter that keeps edges sharp.
    """
    factor = _factor(image.size, size)
    scale = max(1, round(stored[0] / image.width)) * factor
    ready = _reduced(image, factor)
    box = (0, 0, min(ready.width, stored[0] / scale), min(ready.height, stored[1] / scale))
    return _resized(ready, size, box)


def _shrunk_still(photo: webp.Still, size: tuple[int, int]) -> Image.Image:
    mode, sides = "RGBA" if photo.has_alpha else "RGBX", _sides_read(photo, size)
    read = Image.frombuffer(mode, sides, webp.pixels(_LIBWEBP, photo, sides), "raw", mode, 0, 1)
    if mode == "RGBX" and math.prod(sides) <= _PIXELS_RESIZED_AT_LEISURE:
        read = read.convert("RGB")  # a copy, but then three bytes a pixel are resized in place of four
    return _shrunk(read, sides, size)


def _sides_read(photo: webp.Still, size: tuple[int, int]) -> tuple[int, int]:
    """Return the sides to read a WebP at: all of a lossy one with alpha, or hidden colours would reach the seen."""
    factor = 1 if photo.has_alpha and not photo.is_lossless else _factor(photo.sides, size)
    return math.ceil(photo.sides[0] / factor), math.ceil(photo.sides[1] / factor)


def _factor(sides: tuple[int, int], size: tuple[int, int]) -> int:
    times = min(sides[0] // size[0], sides[1] // size[1])
    return max(1, times if math.prod(sides) > _PIXELS_RESIZED_AT_LEISURE else times // 2)


def _resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """Return the picture at another size, by the filter that keeps edges sharp.

    The colours of a JPEG are averaged: a variant keeps a quarter of them anyway, and it takes a quarter less time.
    """
    if image.mode != "YCbCr":
        return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    filters = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.BOX)
    planes = [image.getchannel(number).resize(size, by, box) for number, by in enumerate(filters)]
    return Image.merge("YCbCr", planes)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return the picture `factor` times smaller, in a mode that can be resized; in bands, never in a full copy."""
    if factor == 1 and image.mode in ("L", "RGB", "RGBX", "YCbCr", "CMYK") and not image.has_transparency_data:
        return image
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width // factor) * factor
    whole = None
    for top in range(0, height, rows):
        band = _resizable(image.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        whole = whole or Image.new(band.mode, (math.ceil(width / factor), math.ceil(height / factor)))
        whole.paste(band, (0, top // factor))
    assert whole is not None  # noqa: S101 - a picture has a row
    return whole


def _resizable(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value / 256).convert("L")  # 16 bits
    if image.mode != "LA" and image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "LA", "RGB", "YCbCr", "CMYK") else image.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture as RGB or, from a JPEG, YCbCr; RGBA where a pixel is not opaque. A bad profile is ignored."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    plain = image.mode.rstrip("AX")
    colour = _with_profile(image if image.mode == plain else image.convert(plain), profile)
    colour.info = {}
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _with_profile(image: Image.Image, icc: bytes | None) -> Image.Image:
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc or b""))
        if image.mode in _COLOURS and ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return image
        fitting = image.convert("RGB") if profile.profile.xcolor_space == "RGB " else image
        converted = ImageCms.profileToProfile(fitting, profile, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    return converted or (image if image.mode in _COLOURS else image.convert("RGB"))


def _write(photo: _Photo, kind: magic.Kind, into: Path, specs: Sequence[VariantSpec]) -> Encoded:
    picture = photo.image
    if picture.mode == "YCbCr" and any(spec.format != "jpeg" for spec in specs):
        picture = picture.convert("RGB")
    files: dict[tuple[tuple[int, int], str, int], Path] = {}
    variants = []
    for size, spec in sorted(((_size(photo.sides, spec), spec) for spec in specs), key=_largest_first):
        if picture.size != size:
            picture = _resized(picture, size)
        path = files.setdefault((size, spec.format, spec.quality), into / f"{spec.name}.{spec.extension}")
        if path.stem == spec.name:
            _save(picture, path, spec, photo.rights)
        variants.append(EncodedVariant(spec.name, path, *size, path.stat().st_size, spec.content_type, spec.extension))
    return Encoded(kind.content_type, kind.extension, *photo.sides, _thumbhash(picture), tuple(variants))


def _largest_first(made: tuple[tuple[int, int], VariantSpec]) -> tuple[int, int]:
    size, spec = made
    return -math.prod(size), -spec.width


def _save(picture: Image.Image, path: Path, spec: VariantSpec, rights: bytes) -> None:
    if spec.format == "webp":
        picture.save(path, "WEBP", quality=spec.quality, method=_WEBP_METHOD, exif=rights)
    else:
        # Progressive: 5 % smaller, and a page shows something early; it takes 30 ms more for all three sizes.
        _on_white(picture).save(path, "JPEG", quality=spec.quality, progressive=True, optimize=True, exif=rights)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _thumbhash(picture: Image.Image) -> str:
    tiny = picture.copy()
    tiny.thumbnail((_THUMBHASH_SIDE, _THUMBHASH_SIDE))
    return base64.b64encode(
        bytes(thash.rgba_to_thumb_hash(*tiny.size, tiny.convert("RGB").convert("RGBA").tobytes()))
    ).decode()
