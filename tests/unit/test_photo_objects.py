"""Which stored objects does the janitor take for those of a photo, if another photo's copy lies under the same name?"""

from dataclasses import replace
from pathlib import Path

import pytest

from services.janitor.photo_objects import PhotoObjects
from shared.domain.listing import Listing, copy_keys
from shared.stores.memory import MemoryObjects
from shared.stores.objects import Bucket
from tests.builders import NOW, a_copy, a_discard, a_listing, a_photo

COPY = a_copy("a")
RENAMED = a_photo("n", copy=COPY)
"""A photo that was announced as `a` before: the objects of its copy still have that name."""


@pytest.fixture
async def objects(tmp_path: Path) -> MemoryObjects:
    """The objects of COPY, and another one that was stored under the name of the photo `a`."""
    stored = MemoryObjects(lambda: NOW)
    (tmp_path / "file").write_bytes(b"x")
    await stored.put(Bucket.ORIGINALS, COPY.original_key, tmp_path / "file", "image/jpeg")
    for key in (*(variant.key for variant in COPY.variants), a_copy("a", sha256="aa" * 32).full.key):
        await stored.put(Bucket.PUBLIC, key, tmp_path / "file", "image/webp")
    return stored


async def test_removing_a_photo_finds_no_object_of_a_renamed_photos_copy(objects: MemoryObjects) -> None:
    empty = a_discard("a", whole=True, removing=True, public_keys=(), original_keys=())
    listing = await PhotoObjects(objects).add_unrecorded(a_listing(RENAMED, discards=(empty,)))
    (discard,) = listing.discards
    assert discard.public_keys == (a_copy("a", sha256="aa" * 32).full.key,)
    assert discard.original_keys == ()


async def test_a_renamed_photos_copy_is_lost_only_if_an_object_is(objects: MemoryObjects) -> None:
    listing = a_listing(RENAMED)
    deleted = [a_discard("a", copy=COPY)]

    async def after_check() -> Listing:
        return await PhotoObjects(objects).lose_deleted_copies(listing, deleted, NOW)

    assert await after_check() == listing
    await objects.delete(Bucket.PUBLIC, [COPY.full.key])
    assert (await after_check()).photos == (replace(RENAMED, copy=None),)
    assert COPY.full.key in copy_keys(COPY)
