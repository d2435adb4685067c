"""Tests the download of a newer version of a photo whose copy was made with other variants settings."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from services.downloader import resizer
from services.downloader.answers import Answer, Fetched, NotModified, Validators
from services.downloader.download import Downloader
from services.downloader.no_photos import KnownNoPhotos
from services.downloader.outcomes import Downloaded, Unchanged
from services.downloader.picture import Encoded, EncodedVariant
from shared.domain import keys
from shared.domain.failures import Failure, Reason
from shared.domain.image import Photo
from shared.domain.variants import RESIZERS, VariantSpec, parse_variants, rendering
from shared.stores.errors import StoreUnavailable
from shared.stores.memory import MemoryNoPhotos, MemoryObjects
from shared.stores.no_photos import NoPhoto
from shared.stores.objects import Bucket
from tests.builders import (
    FEED,
    KEY,
    NOW,
    a_copy,
    a_downloaded_photo,
    a_feed,
    a_photo,
    a_record,
    a_row,
    after,
    announced,
    only_photo,
    with_copies,
)
from tests.origins import FakePermit

HELD = a_copy()
SPECS = parse_variants("full=300:webp:80")
NEWER_OF_CURRENT = a_downloaded_photo(
    announced_at=after(50), copy=replace(HELD, rendering=rendering(SPECS, resizer.NAME))
)
NEWER = a_downloaded_photo(announced_at=after(50), copy=HELD)
FORCED = a_downloaded_photo(copy=HELD, forced_at=NOW)
"""Its copy was rendered by other settings or rules, as those of HELD were."""


class FakeFetcher:
    """Returns NotModified to conditional requests, else a file; `validators` are those of the last request."""

    validators: Validators | None = None
    is_conditional_answered = True

    async def fetch(self, url: str, feed: object, into: Path, validators: Validators | None, *_: object) -> Answer:
        self.validators = validators
        if validators and self.is_conditional_answered:
            return NotModified('"v2"', None)
        path = into / "fetch-1"
        path.write_bytes(b"fetched")
        return Fetched(path, 7_000, "0f" * 32, '"v3"', None)


class FakeEncoders:
    """Writes a variant of a few bytes; `source` has the bytes of the last photo."""

    source = b""
    sides = (9, 9)

    async def encode(self, source: Path, into: Path, specs: Sequence[VariantSpec], *_: object, **__: object) -> Encoded:
        self.source = source.read_bytes()  # noqa: ASYNC240 - some bytes
        (spec,) = specs
        path = into / spec.name
        path.write_bytes(b"made")
        return Encoded(
            "image/jpeg", "jpg", *self.sides, "", (EncodedVariant(spec.name, path, 9, 9, 4, "image/webp", "webp"),)
        )


@pytest.mark.parametrize("photo", [NEWER, FORCED], ids=["newer", "forced"])
@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_newer_or_forced_version_is_requested_conditionally_only_if_the_original_is_stored(
    tmp_path: Path, photo: Photo, is_lost: bool
) -> None:
    objects, fetcher, encoders = MemoryObjects(lambda: NOW), FakeFetcher(), FakeEncoders()
    if not is_lost:
        (tmp_path / "held").write_bytes(b"held")
        await objects.put(Bucket.ORIGINALS, HELD.original_key, tmp_path / "held", "image/jpeg")

    downloader = Downloader(
        cast("Any", fetcher), cast("Any", encoders), objects, KnownNoPhotos(MemoryNoPhotos()), SPECS, lambda: NOW
    )
    outcome = await downloader.download(a_feed(), KEY, photo, FakePermit())
    assert isinstance(outcome, Downloaded)
    made_of = (fetcher.validators, encoders.source, outcome.copy.sha256, outcome.copy.etag)
    if is_lost:
        assert made_of == (None, b"fetched", "0f" * 32, '"v3"')
    else:
        assert made_of == (Validators(HELD.etag, None), b"held", HELD.sha256, '"v2"')


class RefusingEncoders:
    """Finds too many pixels in every photo."""

    async def encode(self, *_: object, **__: object) -> Failure:
        return Failure(Reason.TOO_MANY_PIXELS, "too many")


@pytest.mark.parametrize("photo", [a_photo(), NEWER_OF_CURRENT], ids=["no copy", "a copy of a former version"])
async def test_a_file_that_is_refused_is_not_sent_again_until_it_changes(photo: Photo) -> None:
    fetcher = FakeFetcher()
    downloader = Downloader(
        cast("Any", fetcher),
        cast("Any", RefusingEncoders()),
        MemoryObjects(lambda: NOW),
        KnownNoPhotos(MemoryNoPhotos()),
        SPECS,
        lambda: NOW,
    )
    fetcher.is_conditional_answered = False
    refused = await downloader.download(a_feed(), KEY, photo, FakePermit())
    assert refused == Failure(Reason.TOO_MANY_PIXELS, "too many", etag='"v3"')
    fetcher.is_conditional_answered = True
    again = await downloader.download(a_feed(), KEY, replace(photo, failure=refused), FakePermit())
    assert fetcher.validators == Validators('"v3"', None)
    assert again == Failure(Reason.TOO_MANY_PIXELS, "too many", etag='"v2"')


async def test_a_picture_of_a_pixel_does_not_replace_a_copy_and_nothing_is_stored() -> None:
    objects, fetcher, encoders = MemoryObjects(lambda: NOW), FakeFetcher(), FakeEncoders()
    encoders.sides = (1, 1)
    fetcher.is_conditional_answered = False
    downloader = Downloader(
        cast("Any", fetcher), cast("Any", encoders), objects, KnownNoPhotos(MemoryNoPhotos()), SPECS, lambda: NOW
    )
    outcome = await downloader.download(a_feed(), KEY, NEWER_OF_CURRENT, FakePermit())
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.etag) == (Reason.NO_PHOTO, '"v3"')
    assert not objects.stored_at
    assert isinstance(await downloader.download(a_feed(), KEY, a_photo(), FakePermit()), Downloaded)


async def test_validators_are_sent_only_to_the_url_that_they_came_from() -> None:
    fetcher = FakeFetcher()
    downloader = Downloader(
        cast("Any", fetcher),
        cast("Any", FakeEncoders()),
        MemoryObjects(lambda: NOW),
        KnownNoPhotos(MemoryNoPhotos()),
        SPECS,
        lambda: NOW,
    )
    assert NEWER_OF_CURRENT.copy
    moved = replace(NEWER_OF_CURRENT, url="https://photos.example.com/kitchen.jpg")
    assert isinstance(await downloader.download(a_feed(), KEY, moved, FakePermit()), Downloaded)
    assert fetcher.validators is None
    assert isinstance(await downloader.download(a_feed(), KEY, NEWER_OF_CURRENT, FakePermit()), Unchanged)
    assert fetcher.validators == Validators(NEWER_OF_CURRENT.copy.etag, None)


@pytest.mark.parametrize("photo", [a_photo(), NEWER_OF_CURRENT], ids=["no copy", "a good copy"])
async def test_a_picture_that_an_operator_marked_is_no_copy_until_it_is_unmarked(photo: Photo) -> None:
    store, seconds, fetcher = MemoryNoPhotos(), [0.0], FakeFetcher()
    fetcher.is_conditional_answered = False
    await store.mark(NoPhoto("proptx-idx", "0f" * 32, NOW))
    await store.mark(NoPhoto("other", "1f" * 32, NOW))
    known = KnownNoPhotos(store, lambda: seconds[0])
    objects = MemoryObjects(lambda: NOW)
    downloader = Downloader(cast("Any", fetcher), cast("Any", FakeEncoders()), objects, known, SPECS, lambda: NOW)
    outcome = await downloader.download(a_feed(), KEY, photo, FakePermit())
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.etag, objects.stored_at) == (Reason.NO_PHOTO, '"v3"', {})
    assert await store.unmark("proptx-idx", "0f" * 32)
    seconds[0] = 29.0
    assert isinstance(await downloader.download(a_feed(), KEY, photo, FakePermit()), Failure)
    seconds[0] = 31.0
    assert isinstance(await downloader.download(a_feed(), KEY, photo, FakePermit()), Downloaded)


async def test_marks_are_remembered_while_the_store_is_unavailable() -> None:
    class Failing(MemoryNoPhotos):
        error: StoreUnavailable | None = StoreUnavailable("gone")

        async def hashes(self, feed: str) -> Collection[str]:
            if self.error:
                raise self.error
            return await super().hashes(feed)

    store, seconds = Failing(), [0.0]
    await store.mark(NoPhoto("proptx-idx", "0f" * 32, NOW))
    known = KnownNoPhotos(store, lambda: seconds[0])
    with pytest.raises(StoreUnavailable):
        await known.hashes("proptx-idx")
    store.error = None
    assert await known.hashes("proptx-idx") == {"0f" * 32}
    store.error, seconds[0] = StoreUnavailable("gone"), 99.0
    assert await known.hashes("proptx-idx") == {"0f" * 32}


@pytest.mark.parametrize("resized_by", RESIZERS)
async def test_a_copy_that_another_machines_library_resized_is_not_made_again(resized_by: str) -> None:
    assert resizer.NAME in RESIZERS
    assert NEWER_OF_CURRENT.copy
    held = replace(NEWER_OF_CURRENT.copy, rendering=rendering(SPECS, resized_by))
    downloader = Downloader(
        cast("Any", FakeFetcher()),
        cast("Any", FakeEncoders()),
        MemoryObjects(lambda: NOW),
        KnownNoPhotos(MemoryNoPhotos()),
        SPECS,
        lambda: NOW,
    )
    outcome = await downloader.download(a_feed(), KEY, replace(NEWER_OF_CURRENT, copy=held), FakePermit())
    assert outcome == Unchanged('"v2"', None)


class NoFetcher:
    """Fails the test if the origin is asked."""

    async def fetch(self, *_: object) -> Answer:
        pytest.fail("the origin was asked")


async def test_a_renamed_photo_is_stored_under_its_new_name_without_a_request(tmp_path: Path) -> None:
    objects = MemoryObjects(lambda: NOW)
    (tmp_path / "held").write_bytes(b"held")
    await objects.put(Bucket.ORIGINALS, HELD.original_key, tmp_path / "held", "image/jpeg")
    row = a_row("a")
    listing = announced(a_record(row | {"MediaKey": "new"}), with_copies(announced(a_record(row))), offset=1)
    renamed = only_photo(listing)
    downloader = Downloader(
        cast("Any", NoFetcher()),
        cast("Any", FakeEncoders()),
        objects,
        KnownNoPhotos(MemoryNoPhotos()),
        SPECS,
        lambda: NOW,
    )
    outcome = await downloader.download(a_feed(), KEY, renamed, FakePermit())
    assert isinstance(outcome, Downloaded)
    assert outcome.copy.original_key.startswith(keys.photo_prefix(FEED, KEY, "new"))
    assert (outcome.copy.sha256, outcome.copy.etag) == (HELD.sha256, HELD.etag)
