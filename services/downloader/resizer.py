"""Resizes pictures by the Lanczos filter: with `cykooz-resizer`, or with Pillow on a machine that lacks it.

`cykooz-resizer` takes a sixth of Pillow's time. It reads and writes the memory of Pillow's pictures, whose layout is no
public interface of Pillow: `check` finds out at the start whether the installed versions fit each other.
"""

import PIL
from PIL import Image

try:
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

    NAME = "cykooz-resizer"
    """Which library resizes here, one of `variants.RESIZERS`."""
except ModuleNotFoundError:
    NAME = "pillow"

Box = tuple[float, float, float, float]
"""A part of a picture: left, top, right and bottom, in pixels, which may be fractions."""

_MODES = ("L", "RGB", "RGBA", "CMYK")
"""The modes of Pillow's pictures that `cykooz-resizer` can read. Pillow resizes pictures in the few other modes."""


def resize(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """Return the part `box` of the picture, resized to the width and height `size`.

    The colours of transparent pixels do not bleed into other pixels.
    """
    if NAME == "pillow" or image.mode not in _MODES:
        return _resize_with_pillow(image, size, box)
    left, top, right, bottom = box
    crop_box = CropBox(left, top, right - left, bottom - top)
    resized = Image.new(image.mode, size, None)  # with any pixels: all of them are written next
    Resizer().resize_pil(image, resized, ResizeOptions(ResizeAlg.convolution(FilterType.lanczos3), crop_box=crop_box))
    return resized


def _resize_with_pillow(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=3.0)


def check() -> None:
    """Resize a small picture of each mode, and compare its pixels with the pixels of Pillow's own resizing.

    Called when a process starts that will resize photos. Raises RuntimeError if pixels differ by more than rounding. If
    Pillow's memory has a layout that `cykooz-resizer` does not know, the process may instead be ended by a signal.
    """
    gradient, box = Image.linear_gradient("L").resize((24, 18)), (1.0, 2.0, 23.0, 16.0)
    for mode in _MODES:
        image = Image.merge(mode, [gradient] * len(Image.new(mode, (1, 1)).getbands()))
        found, expected = (by(image, (11, 7), box).tobytes() for by in (resize, _resize_with_pillow))
        if len(found) != len(expected) or any(abs(a - b) > 2 for a, b in zip(found, expected, strict=True)):
            raise RuntimeError(
                f"{NAME} does not fit Pillow {PIL.__version__}: a resized {mode} picture has wrong pixels. Install the "
                "versions that uv.lock names, or uninstall cykooz-resizer: then Pillow resizes, more slowly"
            )
