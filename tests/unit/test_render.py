"""The fragment of a photo has the fields of the contract's `Image`, and never the URL of the MLS."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.image import Photo
from shared.render import Renderer
from tests.builders import KEY, NOW, a_copy, a_downloaded_photo, a_listing, a_photo, after, hidden

RENDERER = Renderer("https://cdn.example.com/photos")
FOLDER = f"https://cdn.example.com/photos/proptx-idx/{KEY}/a/5a5a5a5a5a5a5a5a"
FULL, THUMB = f"{FOLDER}/full-12345678.webp", f"{FOLDER}/thumb-12345678.webp"
FIELDS = [
    "id", "order", "status", "category", "url", "srcset", "width", "height", "content_type", "file_size", "variants",
    "alt", "thumbhash", "downloaded_at", "media_changed_at",
]  # fmt: skip


def rendered(photo: Photo) -> dict[str, object]:
    image: dict[str, object] = orjson.loads(RENDERER.fragment(photo))
    return image


def test_the_fragment_of_a_copy_has_its_full_variant_and_all_variants() -> None:
    photo = a_downloaded_photo(caption="Hall", order=3)
    assert rendered(photo) == {
        "id": photo.id,
        "order": 3,
        "status": "downloaded",
        "category": "photo",
        "url": FULL,
        "srcset": f"{THUMB} 320w, {FULL} 1600w",
        "width": 1600,
        "height": 1200,
        "content_type": "image/webp",
        "file_size": 160_000,
        "variants": [
            {
                "name": "full",
                "url": FULL,
                "content_type": "image/webp",
                "width": 1600,
                "height": 1200,
                "file_size": 160_000,
            },
            {
                "name": "thumb",
                "url": THUMB,
                "content_type": "image/webp",
                "width": 320,
                "height": 240,
                "file_size": 32_000,
            },
        ],
        "alt": "Hall",
        "thumbhash": "3OcRJYB4d3h/iIeHeEh3eIhw+j2w",
        "downloaded_at": "2026-11-23T09:00:00Z",
        "media_changed_at": "2026-11-23T09:00:00Z",
    }


def test_srcset_has_each_width_once_and_prefers_the_full_variant() -> None:
    small = a_copy(variants=tuple(replace(variant, width=240, height=180) for variant in a_copy().variants))
    assert rendered(a_photo(copy=small))["srcset"] == f"{FULL} 240w"
    two = a_copy(variants=(a_copy().full, replace(a_copy().full, name="print", key="print.jpg"), a_copy().variants[1]))
    assert rendered(a_photo(copy=two))["srcset"] == f"{THUMB} 320w, {FULL} 1600w"


def test_srcset_has_only_uncropped_variants_in_the_format_of_the_full_one() -> None:
    full, thumb = a_copy().variants
    avif = replace(full, name="full-avif", key="full.avif", content_type="image/avif", width=1599)
    tile = replace(thumb, name="tile", key="tile.webp", width=300, height=300, is_cropped=True)
    image = rendered(a_photo(copy=a_copy(variants=(avif, full, thumb, tile))))
    assert (image["url"], image["srcset"]) == (FULL, f"{THUMB} 320w, {FULL} 1600w")
    variants = image["variants"]
    assert isinstance(variants, list)
    assert [(variant["name"], variant["content_type"]) for variant in variants] == [
        ("full-avif", "image/avif"),
        ("full", "image/webp"),
        ("thumb", "image/webp"),
        ("tile", "image/webp"),
    ]


def test_without_a_copy_the_url_is_the_serve_endpoint_and_sizes_are_null() -> None:
    photo = a_photo(announced_at=None)
    assert rendered(photo) == {
        "id": photo.id,
        "order": 0,
        "status": "pending",
        "category": "photo",
        "url": f"/api/images/serve?id={photo.id}",
        "srcset": "",
        "width": None,
        "height": None,
        "content_type": None,
        "file_size": None,
        "variants": [],
        "alt": "Photo 1",
        "thumbhash": None,
        "downloaded_at": None,
        "media_changed_at": None,
    }


@pytest.mark.parametrize(
    ("photo", "status", "has_copy"),
    [
        (a_photo(), "pending", False),
        (a_photo(failure=Failure(Reason.GONE, "photos.example.com answered 404")), "failed", False),
        (a_downloaded_photo(), "downloaded", True),
        (a_downloaded_photo(announced_at=after(1)), "outdated", True),
        (a_downloaded_photo(announced_at=after(1), failure=Failure(Reason.GONE)), "outdated", True),
    ],
)
def test_every_status_has_the_same_fields_and_a_copy_is_shown_if_there_is_one(
    photo: Photo, status: str, has_copy: bool
) -> None:
    image = rendered(photo)
    assert sorted(image) == sorted(FIELDS)
    assert image["status"] == status
    assert (image["url"] == FULL) is has_copy
    assert bool(image["variants"]) is has_copy


@pytest.mark.parametrize("photo", [a_photo(), a_downloaded_photo(), a_photo(failure=Failure(Reason.GONE, "why"))])
def test_no_fragment_has_the_url_of_the_mls(photo: Photo) -> None:
    fragment = RENDERER.fragment(photo)
    assert "photos.example.com" not in fragment
    assert not any(key in fragment for key in photo.url_keys)


@pytest.mark.parametrize(
    ("caption", "order", "alt"),
    [
        ("", 0, "Photo 1"),
        ("", 11, "Photo 12"),
        (" \t\u00a0\u2028", 0, "Photo 1"),
        ("Küche 🏠", 0, "Küche 🏠"),
        ('"><img src=x onerror=alert(1)>&amp;\\', 0, '"><img src=x onerror=alert(1)>&amp;\\'),
        ("  Hall\r\n and\tstairs ", 0, "Hall and stairs"),
    ],
)
def test_the_alt_text_is_the_caption_on_one_line_or_else_the_photos_number(caption: str, order: int, alt: str) -> None:
    assert rendered(a_photo(caption=caption, order=order))["alt"] == alt


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOW, "2026-11-23T09:00:00Z"),
        (after(0.5), "2026-11-23T09:00:00.500000Z"),
        (NOW.astimezone(timezone(timedelta(hours=-5))), "2026-11-23T09:00:00Z"),
    ],
)
def test_times_are_rendered_in_utc(moment: datetime, written: str) -> None:
    image = rendered(a_photo(announced_at=moment, copy=a_copy(mls_changed_at=moment, downloaded_at=moment)))
    assert (image["media_changed_at"], image["downloaded_at"]) == (written, written)


def test_a_displayed_listing_has_one_fragment_for_each_photo_and_a_hidden_one_has_none() -> None:
    listing = a_listing(a_downloaded_photo("a"), a_photo("b"))
    assert RENDERER.fragments(listing) == [RENDERER.fragment(photo) for photo in listing.photos]
    assert RENDERER.fragments(a_listing(a_downloaded_photo("a"), hidden=hidden())) == []
    assert RENDERER.fragments(a_listing()) == []


def test_the_version_differs_for_another_public_root() -> None:
    assert Renderer("https://a.example.com").version == Renderer("https://a.example.com").version
    assert Renderer("https://a.example.com").version != Renderer("https://b.example.com").version


def test_the_url_of_an_object_is_the_public_root_and_its_key() -> None:
    assert RENDERER.url("f/l~20/p/1/full.webp") == "https://cdn.example.com/photos/f/l~20/p/1/full.webp"
