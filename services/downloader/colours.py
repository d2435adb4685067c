"""Converts a decoded photo to sRGB."""

import io

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")


def in_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Return the decoded picture in sRGB, without metadata, in mode RGB or RGBA.

    The mode is RGBA only if a pixel is not opaque. `icc_profile` is the colour profile from the picture's file, None
    for none. A profile that cannot be read, or is not for the picture's mode, is ignored. `image` itself may lose its
    metadata.
    """
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque_mode = image.mode.rstrip("AX")
    colour = _with_profile(image if image.mode == opaque_mode else image.convert(opaque_mode), icc_profile)
    colour.info = {}
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _with_profile(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc_profile or b""))
        if image.mode == "RGB" and ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return image
        fitting = image.convert("RGB") if profile.profile.xcolor_space == "RGB " else image
        converted = ImageCms.profileToProfile(fitting, profile, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    return converted or (image if image.mode == "RGB" else image.convert("RGB"))
