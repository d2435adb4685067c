"""Tests the download of a newer version of a photo whose copy was made with other variants settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from services.downloader.answers import Answer, Fetched, NotModified, Validators
from services.downloader.download import Downloader
from services.downloader.outcomes import Downloaded
from services.downloader.picture import Encoded, EncodedVariant
from shared.domain.variants import VariantSpec, parse_variants
from shared.stores.memory import MemoryObjects
from shared.stores.objects import Bucket
from tests.builders import KEY, NOW, a_copy, a_downloaded_photo, a_feed, after
from tests.origins import FakePermit

HELD = a_copy()
NEWER = a_downloaded_photo(announced_at=after(50), copy=HELD)


class FakeFetcher:
    """Returns NotModified to conditional requests, else a file; `validators` are those of the last request."""

    validators: Validators | None = None

    async def fetch(self, url: str, feed: object, into: Path, validators: Validators | None, *_: object) -> Answer:
        self.validators = validators
        if validators:
            return NotModified('"v2"', None)
        path = into / "fetch-1"
        path.write_bytes(b"fetched")
        return Fetched(path, 7, "0f" * 32, '"v3"', None)


class FakeEncoders:
    """Writes a variant of a few bytes; `source` has the bytes of the last photo."""

    source = b""

    async def encode(self, source: Path, into: Path, specs: Sequence[VariantSpec], *_: object, **__: object) -> Encoded:
        self.source = source.read_bytes()  # noqa: ASYNC240 - some bytes
        (spec,) = specs
        path = into / spec.name
        path.write_bytes(b"made")
        return Encoded("image/jpeg", "jpg", 9, 9, "", (EncodedVariant(spec.name, path, 9, 9, 4, "image/webp", "webp"),))


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_newer_version_is_requested_conditionally_only_if_the_original_is_stored(
    tmp_path: Path, is_lost: bool
) -> None:
    objects, fetcher, encoders = MemoryObjects(lambda: NOW), FakeFetcher(), FakeEncoders()
    if not is_lost:
        (tmp_path / "held").write_bytes(b"held")
        await objects.put(Bucket.ORIGINALS, HELD.original_key, tmp_path / "held", "image/jpeg")

    specs = parse_variants("full=300:webp:80")
    downloader = Downloader(cast("Any", fetcher), cast("Any", encoders), objects, specs, lambda: NOW)
    outcome = await downloader.download(a_feed(), KEY, NEWER, FakePermit())
    assert isinstance(outcome, Downloaded)
    made_of = (fetcher.validators, encoders.source, outcome.copy.sha256, outcome.copy.etag)
    if is_lost:
        assert made_of == (None, b"fetched", "0f" * 32, '"v3"')
    else:
        assert made_of == (Validators(HELD.etag, None), b"held", HELD.sha256, '"v2"')
