"""Tests how variants look: upright, sRGB, without metadata, of the right sizes and formats."""

import base64
import io
from pathlib import Path

import pytest
import thash
from PIL import ExifTags, Image, ImageChops, ImageStat

from local.sandbox.album import Shot, draw
from services.downloader import resizer
from shared.domain.variants import VariantSpec
from tests import pictures
from tests.encoding import AVIF, COLOURFUL, JPEG, WEBP, all_near, good, near, quarters, shown
from tests.pictures import CORNERS, Colour


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_and_removed(tmp_path: Path, form: str, orientation: int) -> None:
    stored = pictures.turned(COLOURFUL, orientation)
    tags = pictures.exif({pictures.ORIENTATION: orientation})
    encoded = good(tmp_path, pictures.encoded(stored, form, exif=tags, quality=90), VariantSpec("full", 32, "webp", 90))
    image = shown(encoded)
    assert (encoded.width, encoded.height, *image.size) == (64, 48, 32, 24)
    assert all_near(quarters(image), CORNERS, 30)
    assert pictures.ORIENTATION not in image.getexif()


def test_a_png_may_say_its_orientation_after_its_pixels(tmp_path: Path) -> None:
    stored = pictures.encoded(pictures.turned(COLOURFUL, 6), "PNG")
    tags = pictures.exif({pictures.ORIENTATION: 6}).removeprefix(b"Exif\0\0")
    image = shown(good(tmp_path, pictures.with_late_chunk(stored, b"eXIf", tags)))
    assert image.size == (64, 48)
    assert all_near(quarters(image), CORNERS, 20)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_means_nothing_is_ignored(tmp_path: Path, value: int) -> None:
    tags = pictures.exif({pictures.ORIENTATION: value})
    assert shown(good(tmp_path, pictures.encoded(COLOURFUL, "JPEG", exif=tags))).size == (64, 48)


def test_a_broken_exif_block_is_no_reason_to_refuse_a_photo(tmp_path: Path) -> None:
    good(tmp_path, pictures.encoded(COLOURFUL, "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 50))


@pytest.mark.parametrize(
    ("profile", "mode", "stored", "expected"),
    [
        (pictures.DISPLAY_P3, "RGB", (234, 51, 35), (255, 0, 0)),
        (pictures.ADOBE_RGB, "RGB", (144, 255, 60), (0, 255, 0)),
        (pictures.grey_profile(1.0), "L", 128, (188, 188, 188)),
        (pictures.grey_profile(1.0), "LA", (128, 255), (188, 188, 188)),
        (pictures.cmyk_profile(), "CMYK", (255, 0, 0, 0), (7, 7, 7)),
        (pictures.cmyk_profile(), "CMYK", (0, 255, 255, 0), (255, 255, 255)),
        (None, "CMYK", (0, 255, 255, 0), (255, 0, 0)),
        (None, "RGB", (234, 51, 35), (234, 51, 35)),
        (b"no profile", "RGB", (234, 51, 35), (234, 51, 35)),
        (pictures.DISPLAY_P3[:200], "RGB", (234, 51, 35), (234, 51, 35)),
        (pictures.cmyk_profile(), "RGB", (234, 51, 35), (234, 51, 35)),
        (pictures.DISPLAY_P3, "L", 128, (128, 128, 128)),
    ],
    ids=[
        *(
            "Display P3",
            "Adobe RGB",
            "grey",
            "grey with alpha",
            "cyan as ink",
            "white as ink",
            "no CMYK profile",
            "none",
        ),
        *("broken", "cut", "CMYK's for RGB", "RGB's for grey"),
    ],
)
def test_colour_becomes_srgb(
    tmp_path: Path, profile: bytes | None, mode: str, stored: int | tuple[int, ...], expected: Colour
) -> None:
    form, options = ("JPEG", {"quality": 100}) if mode == "CMYK" else ("PNG", {})
    content = pictures.encoded(Image.new(mode, (32, 32), stored), form, icc_profile=profile, **options)
    image = shown(good(tmp_path, content, VariantSpec("full", 1600, "webp", 100)))
    assert near(quarters(image)[0], expected, 6)
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("spec", [WEBP, JPEG, AVIF], ids=["WebP", "JPEG", "AVIF"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_of_the_metadata_only_artist_and_copyright_are_left(tmp_path: Path, form: str, spec: VariantSpec) -> None:
    tags = pictures.exif(
        {
            pictures.ARTIST: "Jos\u00e9".encode(),
            pictures.COPYRIGHT: "\u00a9 2026 Jos\u00e9".encode(),
            pictures.MAKE: "SecretCamera",
            ExifTags.Base.ImageDescription: "SecretAddress",
        },
        gps={1: "N", 2: (43.0, 39.0, 11.0)},
    )
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, form, exif=tags, xmp=b"<x>SecretXMP</x>"), spec)
    content = encoded.variants[0].path.read_bytes()
    assert "\u00a9 2026 Jos\u00e9\0".encode() in content
    assert b"Secret" not in content
    found = shown(encoded).getexif()
    assert set(found) == {pictures.ARTIST, pictures.COPYRIGHT}
    assert not found.get_ifd(pictures.GPS)


@pytest.mark.parametrize("spec", [WEBP, JPEG], ids=["WebP", "JPEG"])
def test_a_copyright_of_any_length_is_no_reason_to_fail(tmp_path: Path, spec: VariantSpec) -> None:
    tags = pictures.exif({pictures.COPYRIGHT: "c" * 100_000})
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, "PNG", exif=tags), spec)
    assert str(shown(encoded).getexif()[pictures.COPYRIGHT]).startswith("ccc")
    assert encoded.variants[0].file_size < 10_000


GLASS = pictures.glass()
SEE_THROUGH = {
    "PNG": pictures.encoded(GLASS, "PNG"),
    "palette PNG": pictures.encoded(GLASS.quantize(8), "PNG"),
    "WebP": pictures.encoded(GLASS, "WEBP", quality=90),
    "AVIF": pictures.encoded(GLASS, "AVIF", quality=90),
    "GIF": pictures.encoded(GLASS, "GIF"),
}


@pytest.mark.parametrize("content", SEE_THROUGH.values(), ids=SEE_THROUGH)
def test_transparency_is_kept_in_webp_and_avif_and_white_in_jpeg(tmp_path: Path, content: bytes) -> None:
    half = [VariantSpec("full", 32, form, 90) for form in ("webp", "avif", "jpeg")]
    webp, avif, jpeg = (shown(good(tmp_path, content, spec)) for spec in half)
    assert (webp.mode, avif.mode, jpeg.mode) == ("RGBA", "RGBA", "RGB")
    for seen in (webp, avif):
        assert [round(seen.getpixel((8, y))[3], -1) for y in (4, 20)] == [260, 0]  # type: ignore[index]
    assert all_near(quarters(jpeg), (*CORNERS[:2], (255, 255, 255), (255, 255, 255)), 25)


@pytest.mark.parametrize("lossless", [False, True])
def test_the_colours_of_invisible_pixels_of_a_webp_do_not_bleed(tmp_path: Path, lossless: bool) -> None:
    shape = Image.linear_gradient("L").resize((640, 480)).point(lambda value: 255 * (value % 8 < 4))
    photo = Image.composite(Image.new("RGB", shape.size, "blue"), Image.new("RGB", shape.size, "red"), shape)
    photo.putalpha(shape)
    content = pictures.encoded(photo, "WEBP", quality=100, lossless=lossless, exact=True)
    seen = shown(good(tmp_path, content, VariantSpec("thumb", 32, "webp", 100)))
    red, _, _, alpha = seen.split()
    seen_red = ImageChops.multiply(red, alpha.point(lambda value: 255 * (value > 64)))
    assert seen_red.point(lambda value: value > 60).getbbox() is None


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    assert shown(good(tmp_path, pictures.encoded(COLOURFUL.convert("RGBA"), "PNG"))).mode == "RGB"


@pytest.mark.parametrize(
    ("sides", "width", "expected"),
    [
        ((64, 48), 1600, (64, 48)),
        ((64, 48), 64, (64, 48)),
        ((64, 48), 63, (63, 47)),
        ((1, 1), 16, (1, 1)),
        ((1, 5000), 1600, (1, 5000)),
        ((1, 20_000), 1600, (1, 16_383)),
        ((5000, 1), 1600, (1600, 1)),
        ((20_000, 10), 1600, (1600, 1)),
        ((20_000, 10), 16_383, (16_383, 8)),
        ((10, 20_000), 16_383, (8, 16_383)),
        ((1601, 3), 1600, (1600, 3)),
    ],
)
def test_a_variant_is_never_enlarged_and_fits_its_format(
    tmp_path: Path, sides: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    encoded = good(
        tmp_path, pictures.encoded(Image.new("RGB", sides, "red"), "PNG"), VariantSpec("full", width, "webp", 50)
    )
    assert (encoded.width, encoded.height) == sides
    assert shown(encoded).size == (encoded.variants[0].width, encoded.variants[0].height) == expected
    assert near(shown(encoded).convert("RGB").getpixel((0, 0)), (255, 0, 0))  # type: ignore[arg-type]


def test_a_jpeg_variant_may_be_taller_than_webp_allows(tmp_path: Path) -> None:
    content = pictures.encoded(Image.new("RGB", (2, 20_000), "red"), "PNG")
    encoded = good(tmp_path, content, VariantSpec("thumb", 16, "webp", 50), VariantSpec("full", 1600, "jpeg", 50))
    sides = {variant.name: (variant.width, variant.height) for variant in encoded.variants}
    assert list(sides.items()) == [("full", (2, 20_000)), ("thumb", (2, 16_383))]


def test_equal_variants_share_one_file(tmp_path: Path) -> None:
    specs = [VariantSpec(name, width, "webp", 80) for name, width in (("full", 1600), ("card", 800), ("thumb", 32))]
    other = VariantSpec("sharp", 800, "webp", 95)
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, "JPEG"), *specs, other)
    paths = {variant.name: variant.path for variant in encoded.variants}
    assert [variant.name for variant in encoded.variants] == ["full", "card", "sharp", "thumb"]
    assert paths["full"] == paths["card"]
    assert len(set(paths.values())) == 3
    assert all(variant.file_size == variant.path.stat().st_size for variant in encoded.variants)


@pytest.mark.parametrize(
    ("sides", "box", "expected"),
    [
        ((1920, 1280), (1200, 630), (1200, 630)),
        ((1280, 1920), (1200, 630), (1200, 630)),
        ((64, 48), (32, 16), (32, 16)),
        ((64, 48), (64, 48), (64, 48)),
        ((64, 48), (1200, 630), (64, 34)),
        ((64, 48), (16, 1600), (1, 48)),
        ((64, 48), (630, 1200), (25, 48)),
        ((2000, 500), (1200, 630), (952, 500)),
        ((1, 1), (400, 300), (1, 1)),
        ((6000, 4500), (400, 300), (400, 300)),
        ((3001, 1999), (16, 16), (16, 16)),
    ],
)
@pytest.mark.parametrize("full", [1600, 40])
def test_a_crop_covers_its_box_or_the_largest_piece_of_that_shape(
    tmp_path: Path, sides: tuple[int, int], box: tuple[int, int], expected: tuple[int, int], full: int
) -> None:
    specs = VariantSpec("full", full, "jpeg", 90), VariantSpec("crop", box[0], "webp", 90, height=box[1])
    encoded = good(tmp_path, pictures.encoded(Image.new("RGB", sides, "red"), "PNG"), *specs)
    crop = next(variant for variant in encoded.variants if variant.name == "crop")
    assert crop.is_cropped
    assert (crop.width, crop.height) == expected
    with Image.open(crop.path) as image:
        assert image.size == expected


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("sides", "full"), [((480, 240), 1600), ((480, 240), 60), ((9_000, 4_500), 600)])
def test_a_crop_is_cut_around_the_centre(tmp_path: Path, orientation: int, sides: tuple[int, int], full: int) -> None:
    width, height = sides
    photo = Image.new("RGB", sides, pictures.RED)
    photo.paste(pictures.BLUE, (width // 4, 0, 3 * width // 4, height))  # a square in the middle
    tags = pictures.exif({pictures.ORIENTATION: orientation})
    content = pictures.encoded(pictures.turned(photo, orientation), "PNG", exif=tags)
    specs = VariantSpec("full", full, "webp", 90), VariantSpec("tile", 64, "webp", 90, height=64)
    tile = good(tmp_path, content, *specs).variants[-1 if full > 64 else 0]
    with Image.open(tile.path) as image:
        assert image.size == (64, 64)
        corners = [image.convert("RGB").getpixel(place) for place in ((1, 1), (62, 1), (1, 62), (62, 62))]
    assert all(near(corner, pictures.BLUE, 40) for corner in corners)  # type: ignore[arg-type]


def test_the_thumbhash_is_of_the_whole_photo_whatever_is_cropped(tmp_path: Path) -> None:
    content = pictures.encoded(COLOURFUL, "PNG")
    tile = VariantSpec("tile", 16, "webp", 90, height=32)
    assert good(tmp_path, content, WEBP, tile).thumbhash == good(tmp_path, content, WEBP).thumbhash


def test_one_width_may_have_several_formats(tmp_path: Path) -> None:
    specs = [VariantSpec(form, 32, form, 80) for form in ("webp", "jpeg", "avif")]
    for variant, spec in zip(good(tmp_path, pictures.encoded(COLOURFUL, "JPEG"), *specs).variants, specs, strict=True):
        with Image.open(variant.path) as image:
            assert (image.format, image.size, variant.content_type) == (
                spec.format.upper(),
                (32, 24),
                spec.content_type,
            )
            assert all_near(quarters(image), CORNERS, 20)


def test_a_library_that_makes_wrong_pixels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    resizer.check()
    monkeypatch.setattr(resizer, "resize", lambda image, size, box: image.resize(size, Image.Resampling.NEAREST, box))
    with pytest.raises(RuntimeError, match=r"does not fit Pillow 1\d.*: a resized L picture .* uv.lock"):
        resizer.check()


def test_the_fast_library_makes_the_same_pixels_with_and_without_simd() -> None:
    library = pytest.importorskip("cykooz_resizer")
    lanczos = library.ResizeOptions(library.ResizeAlg.convolution(library.FilterType.lanczos3))
    for image in (pictures.grain(301, 203), pictures.glass(301, 203), pictures.grain(301, 203).convert("L")):
        found = set()
        for extensions in (None, library.CpuExtensions.none):
            resizing, resized = library.Resizer(), Image.new(image.mode, (160, 99))
            if extensions is not None:
                resizing.cpu_extensions = extensions
            resizing.resize_pil(image, resized, lanczos)
            found.add(resized.tobytes())
        assert len(found) == 1


def test_a_machine_without_the_fast_library_resizes_with_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizer, "NAME", "pillow")
    resizer.check()
    image = shown(good(tmp_path, pictures.encoded(pictures.glass(), "PNG"), VariantSpec("full", 32, "webp", 90)))
    assert image.size == (32, 24)


def renumbered(jpeg: bytes) -> bytes:
    """Return the JPEG with components 0, 1, 2 in place of 1, 2, 3, as some encoders number them."""
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    changed = bytearray(jpeg)
    for place in (*(frame + 10 + 3 * number for number in range(3)), *(scan + 5 + 2 * number for number in range(3))):
        changed[place] -= 1
    return bytes(changed)


@pytest.mark.parametrize("specs", [(JPEG,), (WEBP,), (JPEG, VariantSpec("card", 20, "jpeg", 90))], ids=len)
@pytest.mark.parametrize(
    "jpeg",
    [
        pictures.encoded(COLOURFUL, "JPEG", quality=95),
        pictures.encoded(COLOURFUL, "JPEG", quality=95, subsampling="4:4:4", progressive=True),
        pictures.encoded(COLOURFUL, "JPEG", quality=95, keep_rgb=True),
        renumbered(pictures.encoded(COLOURFUL, "JPEG", quality=95)),
        pictures.encoded(pictures.corners(2_000, 1_500), "JPEG", quality=95),
        pictures.encoded(pictures.corners(7_001, 4_999), "JPEG", quality=95),
    ],
    ids=["subsampled", "progressive", "stored as RGB", "components numbered from 0", "larger", "much larger"],
)
def test_a_jpeg_keeps_its_colours_however_it_stores_them(
    tmp_path: Path, jpeg: bytes, specs: tuple[VariantSpec, ...]
) -> None:
    encoded = good(tmp_path, jpeg, *specs)
    for variant in encoded.variants:
        with Image.open(variant.path) as image:
            assert all_near(quarters(image), CORNERS)


def test_a_smaller_jpeg_is_as_sharp_as_one_resized_in_rgb(tmp_path: Path) -> None:
    photo = draw(Shot("B0", 4, 0, 1), 1_920)
    encoded = shown(good(tmp_path, photo, VariantSpec("full", 1_500, "jpeg", 95)))
    with Image.open(io.BytesIO(photo)) as image:
        expected = image.convert("RGB").resize(encoded.size, Image.Resampling.LANCZOS)
    saved = Image.open(io.BytesIO(pictures.encoded(expected, "JPEG", quality=95)))
    ours, theirs = (sum(ImageStat.Stat(ImageChops.difference(image, expected)).rms) for image in (encoded, saved))
    assert ours < theirs * 1.05


@pytest.mark.parametrize("colour", [pictures.RED, pictures.BLUE, (128, 128, 128)])
def test_the_thumbhash_is_a_small_picture_of_the_same_colour(tmp_path: Path, colour: Colour) -> None:
    encoded = good(tmp_path, pictures.encoded(Image.new("RGB", (90, 60), colour), "PNG"))
    width, height, pixels = thash.thumb_hash_to_rgba(base64.b64decode(encoded.thumbhash, validate=True))
    small = Image.frombytes("RGBA", (width, height), bytes(pixels))
    assert width > height
    assert all_near(quarters(small), (colour,) * 4, 12)


def test_the_thumbhash_shows_where_the_colours_are(tmp_path: Path) -> None:
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, "PNG"))
    width, height, pixels = thash.thumb_hash_to_rgba(base64.b64decode(encoded.thumbhash))
    assert all_near(quarters(Image.frombytes("RGBA", (width, height), bytes(pixels))), CORNERS, 70)


def test_large_photos_are_shrunk_without_a_shift(tmp_path: Path) -> None:
    wide = pictures.corners(1999, 1501)
    for form, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True})):
        image = shown(good(tmp_path, pictures.encoded(wide, form, **options), VariantSpec("full", 101, "webp", 100)))
        expected = wide.resize(image.size, Image.Resampling.LANCZOS)
        middle = image.crop((45, 0, 56, 76)), expected.crop((45, 0, 56, 76))
        found, wanted = (part.convert("L").resize((11, 1), Image.Resampling.BOX).tobytes() for part in middle)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 12


def test_each_variants_file_has_its_extension_and_content_type(tmp_path: Path) -> None:
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, "PNG"), VariantSpec("a", 32, "jpeg", 80), WEBP)
    for variant in encoded.variants:
        assert variant.path.suffix == f".{variant.extension}"
        assert Image.open(io.BytesIO(variant.path.read_bytes())).get_format_mimetype() == variant.content_type


def test_a_jpeg_is_written_progressive(tmp_path: Path) -> None:
    encoded = good(tmp_path, pictures.encoded(COLOURFUL, "JPEG"), JPEG)
    with Image.open(encoded.variants[0].path) as written:
        assert (written.format, written.info.get("progressive")) == ("JPEG", 1)
