"""Which variants settings are valid, and which rendering do they give?"""

import pytest

from shared.domain import variants
from shared.domain.variants import RESIZERS, VariantSpec, current_renderings, parse_variants, rendering

DEFAULT = "thumb=320:webp:75,card=800:webp:78,full=1600:webp:80"


@pytest.mark.parametrize(
    "setting",
    [
        DEFAULT,
        " full = 1600 : WEBP : 80 , card=800:webp:78,thumb=320:webp:75, ",
        "card=800:webp:78,,full=1600:webp:80,thumb=320:webp:75",
    ],
)
def test_a_setting_is_read_widest_first(setting: str) -> None:
    assert parse_variants(setting) == (
        VariantSpec("full", 1600, "webp", 80),
        VariantSpec("card", 800, "webp", 78),
        VariantSpec("thumb", 320, "webp", 75),
    )


@pytest.mark.parametrize(
    ("text", "extension", "content_type"),
    [
        ("full=16:webp:1", "webp", "image/webp"),
        ("full=16383:jpeg:100", "jpg", "image/jpeg"),
        ("full=800:JPG:80", "jpg", "image/jpeg"),
        ("full=800:AVIF:60", "avif", "image/avif"),
    ],
)
def test_a_format_has_an_extension_and_a_content_type(text: str, extension: str, content_type: str) -> None:
    (spec,) = parse_variants(text)
    assert (spec.extension, spec.content_type) == (extension, content_type)
    assert parse_variants(str(spec)) == (spec,)


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("", "a variant named 'full' is required"),
        ("thumb=320:webp:75", "a variant named 'full' is required"),
        ("full", "must read name=width:format:quality"),
        ("full=1600", "must read name=width:format:quality"),
        ("full=1600:webp", "must read name=width:format:quality"),
        ("full=1600:webp:80:1", "must read name=width:format:quality"),
        ("=1600:webp:80", "a variant's name is of a-z, 0-9 and '-'"),
        ("Full=1600:webp:80", "a variant's name is of a-z, 0-9 and '-'"),
        ("../full=1600:webp:80", "a variant's name is of a-z, 0-9 and '-'"),
        ("full=1600:png:80", "the format must be one of webp, jpeg, avif"),
        ("full=15:webp:80", "the width must be a whole number from 16 to 16383"),
        ("full=16384:webp:80", "the width must be a whole number from 16 to 16383"),
        ("full=-800:webp:80", "the width must be a whole number from 16 to 16383"),
        ("full=8e2:webp:80", "the width must be a whole number from 16 to 16383"),
        ("full=\u0661\u0666\u0660\u0660:webp:80", "the width must be a whole number from 16 to 16383"),
        ("full=1600:webp:0", "the quality must be a whole number from 1 to 100"),
        ("full=1600:webp:101", "the quality must be a whole number from 1 to 100"),
        ("tile=400x15:webp:80", "the height must be a whole number from 16 to 16383"),
        ("tile=400x:webp:80", "the height must be a whole number from 16 to 16383"),
        ("tile=x300:webp:80", "the width must be a whole number from 16 to 16383"),
        ("tile=400x300x200:webp:80", "the height must be a whole number from 16 to 16383"),
        ("full=400x300:webp:80", "'full' shows the whole photo: write it without a height"),
        ("full=1600:webp:80,full=800:webp:80", "the variant 'full' is given twice"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(setting: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse_variants(setting)


def test_all_errors_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"'A=1:webp:80'.*'b=800:gif:80'.*'c' is given twice"):
        parse_variants("A=1:webp:80,b=800:gif:80,c=800:webp:80,c=900:webp:80")


def test_a_crop_has_a_height_and_is_written_as_it_is_read() -> None:
    full, share, small = parse_variants("share=1200x630:jpeg:82,full=1600:avif:60,small=16X16:webp:1")
    assert (full.is_cropped, full.height) == (False, None)
    assert share == VariantSpec("share", 1200, "jpeg", 82, height=630)
    assert str(share) == "share=1200x630:jpeg:82"
    assert (small.width, small.height, small.is_cropped) == (16, 16, True)


def test_one_width_may_have_several_formats() -> None:
    specs = parse_variants("full=1600:jpeg:80,full-webp=1600:webp:80,full-avif=1600:avif:60")
    assert {spec.name: spec.format for spec in specs} == {"full": "jpeg", "full-webp": "webp", "full-avif": "avif"}


def hashed(specs: tuple[VariantSpec, ...]) -> str:
    return rendering(specs, RESIZERS[0])


def test_a_copy_is_current_whichever_library_resized_it() -> None:
    specs = parse_variants(DEFAULT)
    assert current_renderings(specs) == {rendering(specs, resizer) for resizer in RESIZERS}
    assert len(current_renderings(specs)) == len(RESIZERS)


def test_the_rendering_changes_with_all_that_changes_bytes_and_with_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = parse_variants(DEFAULT)
    same = parse_variants("full=1600:webp:80,thumb=320:webp:75,card=800:webp:78")
    assert hashed(default) == hashed(same) == hashed(tuple(reversed(default)))
    others = [DEFAULT.replace(*change) for change in (("75", "76"), ("320", "321"), ("webp:80", "jpeg:80"))]
    others += [DEFAULT.replace("card", "grid"), "full=1600:webp:80", DEFAULT.replace("320", "320x240")]
    found = {hashed(default), *(hashed(parse_variants(other)) for other in others)}
    monkeypatch.setattr(variants, "RENDERING_RULES", variants.RENDERING_RULES + 1)
    found |= {hashed(default), rendering(default, "another resizer")}
    assert len(found) == len(others) + 3
    assert all(len(text) == 8 and set(text) <= set("0123456789abcdef") for text in found)
