"""Both stores of objects, in memory and in a real S3 server, keep the same contract."""

import asyncio
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from email.message import Message
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.domain import keys
from shared.domain.audit import StoredObject
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.memory import MemoryObjects
from shared.stores.minio_objects import MinioObjects
from shared.stores.objects import Bucket, Objects
from tests.servers import Namespace

BOTH = list(Bucket)
PARTS = ["X5678", "a b", "a/b", "a~b", "é", "家🏠", ".", "..", "a+b%20", "?#&", "\x00", "x" * 300, "a", "A"]


def settings_of(namespace: Namespace) -> Settings:
    """Return the settings of a namespace's object storage."""
    return Settings(
        s3_endpoint=namespace.servers.s3_endpoint,
        s3_access_key=namespace.servers.s3_access_key,
        s3_secret_key=namespace.servers.s3_secret_key,
        bucket=namespace.bucket,
        originals_bucket=namespace.originals_bucket,
    )


@pytest.fixture
async def real(namespace: Namespace) -> AsyncIterator[MinioObjects]:
    """Empty buckets of an S3 server."""
    objects = MinioObjects(settings_of(namespace))
    await objects.apply_buckets()
    yield objects
    objects.close()


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
def objects(request: pytest.FixtureRequest) -> Objects:
    """Empty buckets, in memory or of an S3 server."""
    if request.param == "memory":
        return MemoryObjects()
    found: MinioObjects = request.getfixturevalue("real")
    return found


async def put(objects: Objects, folder: Path, bucket: Bucket, contents: Mapping[str, bytes]) -> None:
    """Store objects: their bytes by their keys."""
    for index, (key, content) in enumerate(contents.items()):
        source = folder / f"{bucket}-{index}"
        source.write_bytes(content)
        await objects.put(bucket, key, source, "image/webp")


@pytest.mark.parametrize("content", [b"x", b"\x00\xff\r\n" * 1_000, bytes(6_000_000)], ids=["1", "4 kB", "6 MB"])
async def test_an_object_has_the_bytes_that_were_put(objects: Objects, tmp_path: Path, content: bytes) -> None:
    await put(objects, tmp_path, Bucket.PUBLIC, {"f/l/p/1/full.webp": content})
    assert await objects.get(Bucket.PUBLIC, "f/l/p/1/full.webp") == content
    assert await objects.save(Bucket.PUBLIC, "f/l/p/1/full.webp", tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == content


async def test_the_two_buckets_are_independent(objects: Objects, tmp_path: Path) -> None:
    await put(objects, tmp_path, Bucket.PUBLIC, {"f/l/a": b"public", "f/l/b": b"public"})
    await put(objects, tmp_path, Bucket.ORIGINALS, {"f/l/a": b"original"})
    assert await objects.get(Bucket.PUBLIC, "f/l/a") == b"public"
    assert await objects.get(Bucket.ORIGINALS, "f/l/a") == b"original"
    assert await objects.get(Bucket.ORIGINALS, "f/l/b") is None
    assert list(await objects.list(Bucket.ORIGINALS, "f/")) == ["f/l/a"]


@pytest.mark.parametrize("bucket", BOTH)
async def test_a_missing_object_is_none_and_deleting_one_is_no_error(
    objects: Objects, bucket: Bucket, tmp_path: Path
) -> None:
    assert await objects.get(bucket, "f/l/nothing") is None
    assert not await objects.save(bucket, "f/l/nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    assert list(await objects.list(bucket, "f/l/")) == []
    await objects.delete(bucket, ["f/l/nothing", "f/nothing/"])
    await objects.delete(bucket, [])


async def test_an_object_can_be_put_twice(objects: Objects, tmp_path: Path) -> None:
    for _ in range(2):
        await put(objects, tmp_path, Bucket.PUBLIC, {"f/l/a": b"same"})
    assert await objects.get(Bucket.PUBLIC, "f/l/a") == b"same"
    assert list(await objects.list(Bucket.PUBLIC, "f/l/")) == ["f/l/a"]


async def test_all_keys_with_a_prefix_are_listed_at_any_depth(objects: Objects, tmp_path: Path) -> None:
    stored = ["f/l/p/1/a", "f/l/p/2/a", "f/l/p2/1/a", "f/l2/p/1/a", "f2/l/p/1/a"]
    await put(objects, tmp_path, Bucket.PUBLIC, dict.fromkeys(stored, b"x"))
    assert sorted(await objects.list(Bucket.PUBLIC, "f/l/p/")) == stored[:2]
    assert sorted(await objects.list(Bucket.PUBLIC, "f/l/")) == stored[:3]
    assert sorted(await objects.list(Bucket.PUBLIC, "f/")) == stored[:4]
    assert list(await objects.list(Bucket.PUBLIC, "f/l/p/3/")) == []


async def test_only_the_named_objects_are_deleted(objects: Objects, tmp_path: Path) -> None:
    stored = {f"f/l/p/1/{name}": b"x" for name in "abc"}
    await put(objects, tmp_path, Bucket.PUBLIC, stored)
    await objects.delete(Bucket.PUBLIC, {"f/l/p/1/a", "f/l/p/1/c", "f/l/p/1/nothing"})
    assert list(await objects.list(Bucket.PUBLIC, "f/")) == ["f/l/p/1/b"]
    assert await objects.get(Bucket.PUBLIC, "f/l/p/1/a") is None
    await objects.delete(Bucket.PUBLIC, ["f/l/p/1/b"])
    assert list(await objects.list(Bucket.PUBLIC, "f/")) == []
    assert list(await objects.list(Bucket.PUBLIC, "")) == []


async def test_more_than_a_thousand_objects_are_listed_and_deleted(objects: Objects, tmp_path: Path) -> None:
    names = {f"f/l/p{index}/1/a" for index in range(1_200)}
    source = tmp_path / "one"
    source.write_bytes(b"x")
    for first in range(0, 1_200, 100):
        page = sorted(names)[first : first + 100]
        await asyncio.gather(*(objects.put(Bucket.PUBLIC, name, source, "image/webp") for name in page))
    assert set(await objects.list(Bucket.PUBLIC, "f/l/")) == names
    assert not await objects.delete(Bucket.PUBLIC, names)
    assert list(await objects.list(Bucket.PUBLIC, "f/l/")) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_of_a_bucket_have_each_object_once(
    objects: Objects, tmp_path: Path, limit: int
) -> None:  # fmt: skip
    names = ["f/l/p/1/a", "f/l/p/1/b", "f/l/p-2/1/a", "f/l/p.3/1/a", "f/l/p~2F/1/a", "f/l-2/p/1/a", "f/L/p/1/a"]
    await put(objects, tmp_path, Bucket.PUBLIC, {name: b"x" * (1 + number) for number, name in enumerate(names)})
    found: list[StoredObject] = []
    while page := await objects.page(Bucket.PUBLIC, "f/", found[-1].key if found else "", limit):
        assert len(page) <= limit
        found += page
        assert len(found) <= len(names)
    assert {stored.key: stored.size for stored in found} == {name: 1 + number for number, name in enumerate(names)}
    for stored in found:
        assert abs(stored.stored_at - utc_now()) < timedelta(minutes=5)
    assert {stored.key for stored in await objects.page(Bucket.PUBLIC, "f/l/", "", 100)} == set(names[:5])
    assert list(await objects.page(Bucket.ORIGINALS, "", "", 100)) == []


async def test_an_empty_object_is_listed_with_size_zero(objects: Objects, tmp_path: Path) -> None:
    await put(objects, tmp_path, Bucket.PUBLIC, {"f/l/p/1/a": b""})
    assert [stored.size for stored in await objects.page(Bucket.PUBLIC, "f/l/", "", 9)] == [0]


@pytest.mark.parametrize("bucket", BOTH)
async def test_photos_with_unusual_ids_have_separate_objects(objects: Objects, tmp_path: Path, bucket: Bucket) -> None:
    contents = {keys.folder("f", "l", part, "5a" * 32) + "a.webp": part.encode() for part in PARTS}
    await put(objects, tmp_path, bucket, contents)
    for part in PARTS:
        prefix = keys.photo_prefix("f", "l", part)
        (key,) = await objects.list(bucket, prefix)
        assert await objects.get(bucket, key) == part.encode()
    assert set(await objects.list(bucket, keys.listing_prefix("f", "l"))) == set(contents)


async def test_ping_returns_if_both_buckets_exist(objects: Objects) -> None:
    await objects.ping()


def fetched(url: str, method: str = "GET") -> tuple[int, Message, bytes]:
    """Return status, headers and body of a request without credentials."""
    request = urllib.request.Request(url, None if method == "GET" else b"other", method=method)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own server
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: repr(part)[:12])
async def test_anyone_can_get_a_public_object_by_its_url(
    real: MinioObjects, namespace: Namespace, tmp_path: Path, part: str
) -> None:
    key = keys.folder("f", part, part, "5a" * 32) + "full-12345678.webp"
    await put(real, tmp_path, Bucket.PUBLIC, {key: b"bytes"})
    status, headers, content = await asyncio.to_thread(fetched, f"{settings_of(namespace).public_root}/{key}")
    assert (status, content) == (200, b"bytes")
    assert headers["Content-Type"] == "image/webp"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_without_credentials_no_original_is_read_and_no_bucket_listed(
    real: MinioObjects, namespace: Namespace, tmp_path: Path
) -> None:
    for bucket in BOTH:
        await put(real, tmp_path, bucket, {"f/l/a": b"bytes"})
    endpoint = namespace.servers.s3_endpoint
    for path in (
        f"{namespace.originals_bucket}/f/l/a",
        f"{namespace.originals_bucket}/",
        f"{namespace.bucket}/?list-type=2",
    ):
        status, _, content = await asyncio.to_thread(fetched, f"{endpoint}/{path}")
        assert status == 403, path
        assert b"bytes" not in content


async def test_without_credentials_nothing_is_written_or_deleted(
    real: MinioObjects, namespace: Namespace, tmp_path: Path
) -> None:
    await put(real, tmp_path, Bucket.PUBLIC, {"f/l/a": b"bytes"})

    url = f"{namespace.servers.s3_endpoint}/{namespace.bucket}/f/l/a"
    for method in ("PUT", "DELETE", "POST"):
        status, _, _ = await asyncio.to_thread(fetched, url, method)
        assert status in {403, 405}, method
    assert await real.get(Bucket.PUBLIC, "f/l/a") == b"bytes"


async def test_large_files_are_uploaded_and_saved_with_little_memory(real: MinioObjects, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(24_000_000))
    keys = [f"f/l/{number}" for number in range(8)]
    tracemalloc.start()
    try:
        await asyncio.gather(*(real.put(Bucket.ORIGINALS, key, tmp_path / "large", "image/png") for key in keys))
        await asyncio.gather(*(real.save(Bucket.ORIGINALS, key, tmp_path / key[-1]) for key in keys))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {(tmp_path / key[-1]).stat().st_size for key in keys} == {24_000_000}
    assert peak < 40_000_000


async def test_creating_the_buckets_again_keeps_their_objects(
    real: MinioObjects, namespace: Namespace, tmp_path: Path
) -> None:
    await put(real, tmp_path, Bucket.PUBLIC, {"f/l/a": b"bytes"})
    assert list(await real.apply_buckets()) == [namespace.bucket, namespace.originals_bucket]
    assert await real.get(Bucket.PUBLIC, "f/l/a") == b"bytes"


async def test_the_error_for_a_missing_bucket_names_the_command_that_creates_it(
    namespace: Namespace, tmp_path: Path
) -> None:
    objects = MinioObjects(settings_of(namespace))
    with pytest.raises(StoreUnavailable, match=f"bucket {namespace.bucket} is missing; create it with: imagectl init"):
        await objects.ping()
    with pytest.raises(StoreUnavailable):
        await put(objects, tmp_path, Bucket.PUBLIC, {"f/l/a": b"bytes"})
    with pytest.raises(StoreUnavailable):
        await objects.get(Bucket.PUBLIC, "f/l/a")
    objects.close()


@pytest.mark.servers  # needs no server, but the client's timeouts take seconds
async def test_calls_to_an_unreachable_storage_raise_store_unavailable(unused_tcp_port: int, tmp_path: Path) -> None:
    objects = MinioObjects(Settings(s3_endpoint=f"http://127.0.0.1:{unused_tcp_port}"))
    source = tmp_path / "one"
    source.write_bytes(b"x")
    calls = [
        objects.put(Bucket.PUBLIC, "a", source, "image/webp"),
        objects.get(Bucket.PUBLIC, "a"),
        objects.list(Bucket.PUBLIC, "a"),
        objects.page(Bucket.PUBLIC, "a", "", 9),
        objects.delete(Bucket.PUBLIC, ["a"]),
        objects.ping(),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    objects.close()
    assert [type(result) for result in results] == [StoreUnavailable] * len(calls)
