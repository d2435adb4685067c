"""Are variants as good as those that Pillow's own resizing gives, and as small? Compared with an exact reference."""

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps

from local.sandbox.album import Shot, draw
from services.downloader import picture
from services.downloader.picture import EncodedVariant
from shared.domain.variants import VariantSpec, parse_variants
from tests import pictures, reference
from tests.encoding import good

pytestmark = pytest.mark.slow

SIDES = 360, 240
SETTINGS = {
    "WebP": "full=300:webp:80,card=150:webp:78,thumb=60:webp:75",
    "JPEG": "full=300:jpeg:80,card=150:jpeg:80,thumb=60:jpeg:80",
}
GROUND = 128.0


def plan() -> Image.Image:
    """Return a floor plan: rooms with names of several sizes."""
    image = Image.new("RGB", SIDES, "white")
    pen = ImageDraw.Draw(image)
    for at, (name, colour) in enumerate((("Bedroom", "black"), ("Kitchen 4.2 m", "brown"), ("W.I.C.", "black"))):
        pen.rectangle((10 + 110 * at, 12, 110 + 110 * at, 120 + 40 * at), outline="black", width=1 + at)
        pen.text((16 + 110 * at, 30), name, fill=colour, font=ImageFont.load_default(11 + 4 * at))
        pen.text((16 + 60 * at, 210), f"{at + 1},240 sq ft", fill="black", font=ImageFont.load_default(10))
    return image


def lines() -> Image.Image:
    """Return lines one pixel wide, close to each other, in all directions."""
    image = Image.new("RGB", SIDES, "white")
    pen = ImageDraw.Draw(image)
    for at in range(0, SIDES[0], 7):
        pen.line((at, 0, SIDES[0] - at, SIDES[1]), fill=(at % 256, 3 * at % 256, 90))
        pen.line((0, at, SIDES[0], at), fill="black")
    return image


def logo() -> Image.Image:
    """Return a plan that fades out, over colours that must not show where it is transparent."""
    image = Image.composite(plan(), Image.new("RGB", SIDES, "red"), Image.linear_gradient("L").resize(SIDES))
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(SIDES))
    return image


TURNED = pictures.turned(Image.open(io.BytesIO(draw(Shot("B0", 4, 0, 1), SIDES[0]))), 6)
SOURCES = {
    "photo": draw(Shot("B0", 8, 0, 1), SIDES[0]),
    "photo turned": pictures.encoded(TURNED, "JPEG", quality=92, exif=pictures.exif({pictures.ORIENTATION: 6})),
    "floor plan": pictures.encoded(plan(), "PNG"),
    "floor plan as JPEG": pictures.encoded(plan(), "JPEG", quality=90),
    "thin lines": pictures.encoded(lines(), "PNG"),
    "thin lines as JPEG": pictures.encoded(lines(), "JPEG", quality=90),
    "transparency": pictures.encoded(logo(), "PNG"),
}


@cache
def decoded(source: str) -> Image.Image:
    with Image.open(io.BytesIO(SOURCES[source])) as image:
        return ImageOps.exif_transpose(image).convert("RGBA" if source == "transparency" else "RGB")


@cache
def exact(source: str, size: tuple[int, int], ground: float) -> list[reference.Rows]:
    return reference.resized(decoded(source), size, ground)


def resized_by_pillow(source: str, specs: tuple[VariantSpec, ...], folder: Path) -> Iterator[Path]:
    """Yield the files of variants that Pillow resized, each from the next larger one, and that are written as ours."""
    image = decoded(source)
    for spec in specs:
        size = spec.width, round(spec.width * decoded(source).height / decoded(source).width)
        image = image.resize(size, Image.Resampling.LANCZOS)
        path = folder / f"pillow-{spec.name}"
        picture._save(image, path, spec, b"")
        yield path


def quality(source: str, path: Path, spec: VariantSpec) -> float:
    ground = GROUND if spec.format == "webp" else 255.0  # a JPEG has white where the photo is transparent
    with Image.open(path) as image:
        return reference.psnr(image, exact(source, image.size, ground), ground)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("source", SOURCES)
def test_variants_are_as_good_and_as_small_as_those_that_pillow_resizes(
    tmp_path: Path, source: str, setting: str
) -> None:
    specs = parse_variants(setting)
    ours: tuple[EncodedVariant, ...] = good(tmp_path, SOURCES[source], *specs).variants
    baseline = list(resized_by_pillow(source, specs, tmp_path))
    for spec, variant, path in zip(specs, ours, baseline, strict=True):
        assert quality(source, variant.path, spec) > quality(source, path, spec) - 0.1, variant.name
        assert variant.file_size < 1.02 * path.stat().st_size + 40, variant.name
