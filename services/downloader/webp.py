"""Decodes still WebPs with libwebp's own functions, which can reduce a photo while decoding it.

Pillow decodes every WebP as an animation, which takes 16 bytes a pixel: two canvases, the frame as bytes, and a picture
of the frame. Pillow's libwebp alone takes 4 bytes a pixel, and next to none for a lossy photo that it reduces while
decoding. The structures below are those of libwebp's `webp/decode.h`, which do not change within a major version of its
ABI.
"""

import ctypes
from dataclasses import dataclass, field

from PIL import _webp

_LIBWEBP = ctypes.CDLL(_webp.__file__)
"""libwebp, found by the file of Pillow's extension, which is linked to it. Pillow has no public name for it."""
_ABI = 0x0200
_RGBA = 1
_OK, _OUT_OF_MEMORY = 0, 1
_LOSSLESS = 2


class _Features(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("width", "height", "has_alpha", "has_animation", "format")),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Output(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("colorspace", "width", "height", "is_external_memory")),
        ("rgba", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
        ("rest_of_union", ctypes.c_uint8 * 56),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("bypass_filtering", "no_fancy_upsampling", "use_cropping")),
        *((name, ctypes.c_int) for name in ("crop_left", "crop_top", "crop_width", "crop_height")),
        *((name, ctypes.c_int) for name in ("use_scaling", "scaled_width", "scaled_height", "use_threads")),
        *((name, ctypes.c_int) for name in ("dithering_strength", "flip", "alpha_dithering_strength")),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    _fields_ = (("input", _Features), ("output", _Output), ("options", _Options))


@dataclass(frozen=True, slots=True)
class StillWebp:
    """The bytes of a WebP that is not an animation, and facts from its header. `sides` are its width and height."""

    content: bytes = field(repr=False)
    sides: tuple[int, int]
    has_alpha: bool
    is_lossless: bool


def read_still(content: bytes) -> StillWebp | None:
    """Read the header of a WebP file's bytes. Return None if the WebP is an animation, or if its header is invalid."""
    features = _Features()
    status = _LIBWEBP.WebPGetFeaturesInternal(content, ctypes.c_size_t(len(content)), ctypes.byref(features), _ABI)
    if status != _OK or features.has_animation:
        return None
    return StillWebp(content, (features.width, features.height), bool(features.has_alpha), features.format == _LOSSLESS)


def decode(photo: StillWebp, sides: tuple[int, int]) -> bytearray:
    """Decode a WebP to the given width and height; if the WebP is larger, its pixels are averaged.

    Return the pixels as RGBA, 4 bytes each, row by row. Raises MemoryError if libwebp runs out of memory, and
    ValueError if the bytes end early or are not valid.
    """
    config = _Config()
    if not _LIBWEBP.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI):
        raise ValueError("libwebp has another ABI than expected")
    width, height = sides
    pixels = bytearray(4 * width * height)
    config.output.colorspace, config.output.is_external_memory = _RGBA, 1
    config.output.rgba = ctypes.addressof(ctypes.c_char.from_buffer(pixels))
    config.output.stride, config.output.size = 4 * width, len(pixels)
    config.options.use_scaling = sides != photo.sides
    config.options.scaled_width, config.options.scaled_height = sides
    status = _LIBWEBP.WebPDecode(photo.content, ctypes.c_size_t(len(photo.content)), ctypes.byref(config))
    if status == _OUT_OF_MEMORY:
        raise MemoryError
    if status != _OK:
        raise ValueError(f"libwebp says {status}")
    return pixels
