"""A still WebP is read by libwebp's own call, and made smaller on the way where that serves.

Pillow reads every WebP as an animation: two canvases, the frame as bytes, then a picture of it, 16 bytes a pixel. The
library that it brings needs 4, and next to none for a lossy photo that is made smaller as it is read. The layouts are
those of libwebp's `webp/decode.h`, which stay as they are within a major number of its ABI.
"""

import ctypes
from dataclasses import dataclass, field

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
class Still:
    """A WebP that is no animation, by its header; sides in pixels."""

    content: bytes = field(repr=False)
    sides: tuple[int, int]
    has_alpha: bool
    is_lossless: bool


def still(library: ctypes.CDLL, content: bytes) -> Still | None:
    """Read the header; None for an animation, and for a header that means nothing."""
    found = _Features()
    status = library.WebPGetFeaturesInternal(content, ctypes.c_size_t(len(content)), ctypes.byref(found), _ABI)
    if status != _OK or found.has_animation:
        return None
    return Still(content, (found.width, found.height), bool(found.has_alpha), found.format == _LOSSLESS)


def pixels(library: ctypes.CDLL, photo: Still, sides: tuple[int, int]) -> bytearray:
    """Decode at these sides, in pixels, averaged where the photo is larger: RGBA, 4 bytes a pixel.

    Raises MemoryError, and ValueError for bytes that end early or mean nothing.
    """
    config = _Config()
    if not library.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI):
        raise ValueError("libwebp has another ABI than it had")
    width, height = sides
    made = bytearray(4 * width * height)
    config.output.colorspace, config.output.is_external_memory = _RGBA, 1
    config.output.rgba = ctypes.addressof(ctypes.c_char.from_buffer(made))
    config.output.stride, config.output.size = 4 * width, len(made)
    config.options.use_scaling = sides != photo.sides
    config.options.scaled_width, config.options.scaled_height = sides
    status = library.WebPDecode(photo.content, ctypes.c_size_t(len(photo.content)), ctypes.byref(config))
    if status == _OUT_OF_MEMORY:
        raise MemoryError
    if status != _OK:
        raise ValueError(f"libwebp says {status}")
    return made
