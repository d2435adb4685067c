"""Reads three EXIF tags of a photo: orientation, artist and copyright."""

from PIL import Image

_ORIENTATION, _ARTIST, _COPYRIGHT = 0x0112, 0x013B, 0x8298
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MAX_TEXT_BYTES = 2_000  # a longer text is no name; and the EXIF block of a JPEG holds no more than 65 kB


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of the picture, 1 (upright) to 8. Return 1 if the tag is missing or invalid."""
    value = _tags(image).get(_ORIENTATION)
    return value if isinstance(value, int) and value in _TURNS else 1


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture turned upright. `orientation` is the EXIF orientation of the stored picture, 1 to 8."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def upright_sides(sides: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height of a picture after it is turned upright from the EXIF orientation `orientation`.

    Turning a picture at most swaps its sides. So the function also maps upright sides to the sides as stored.
    """
    return (sides[1], sides[0]) if orientation >= 5 else sides


def rights(image: Image.Image) -> bytes:
    """Return the EXIF block to store in a photo's variants: its artist and its copyright, each cut to 2,000 bytes.

    Empty if the photo has neither.
    """
    tags, kept = _tags(image), Image.Exif()
    for tag in (_ARTIST, _COPYRIGHT):
        if value := tags.get(tag):
            text = value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
            kept[tag] = text[:_MAX_TEXT_BYTES]
    return kept.tobytes() if kept else b""


def _tags(image: Image.Image) -> dict[int, object]:
    """Return the values of the EXIF tags for orientation, artist and copyright, by the tags' numbers.

    The tags are read from the parts of the file that Pillow has read so far. A missing tag is left out. The dict is
    empty if there is no EXIF block yet, or if the block cannot be parsed. `Image.getexif` is not used, because it would
    decode a whole PNG to find the tags.
    """
    try:
        found = Image.Exif()
        found.load(image.info.get("exif") or b"")
        return {tag: found[tag] for tag in (_ORIENTATION, _ARTIST, _COPYRIGHT) if tag in found}
    except Exception:  # noqa: BLE001  # metadata that cannot be read is no reason to refuse a photo
        return {}
