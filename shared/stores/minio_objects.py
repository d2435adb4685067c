"""The door to object storage: the only module that knows minio-py, whose blocking calls run in threads of their own."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

from shared.domain.audit import StoredObject
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.objects import Bucket

Result = TypeVar("Result")

_WORKERS = 16
_MOST_LISTED = 10_000
_PIECE_BYTES = 262_144
_PART_BYTES = 5 * 2**20
_LARGE_AT_ONCE = 2
"""Uploads of files of several parts: each holds a part in memory, twice."""
_DELETED_AT_ONCE = 250
"""A request may name a thousand, which servers delete one after the other: several requests go on side by side."""
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


class MinioObjects:
    """Both buckets of any S3 server."""

    def __init__(self, settings: Settings) -> None:
        endpoint = urlsplit(settings.s3_endpoint)
        timeout = urllib3.Timeout(connect=3, read=30)
        self._endpoint = settings.s3_endpoint
        self._pool = urllib3.PoolManager(
            maxsize=_WORKERS, timeout=timeout, retries=urllib3.Retry(2, backoff_factor=0.2)
        )
        self._client = Minio(
            endpoint.netloc,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            region=settings.s3_region,
            secure=endpoint.scheme == "https",
            http_client=self._pool,
        )
        self._names = {Bucket.PUBLIC: settings.bucket, Bucket.ORIGINALS: settings.originals_bucket}
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="s3")

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        is_large = source.stat().st_size > _PART_BYTES  # noqa: ASYNC240 - of a file just written
        async with self._large if is_large else nullcontext():
            await self._run(
                lambda: self._client.fput_object(
                    self._names[bucket],
                    key,
                    str(source),
                    content_type=content_type,
                    metadata=dict(_IMMUTABLE),
                    part_size=_PART_BYTES,
                    num_parallel_uploads=1,  # each holds a part, as many more wait: files go side by side already
                )
            )

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        return await self._run(lambda: self._read(self._names[bucket], key, lambda answer: bytes(answer.read())))

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        return await self._run(lambda: bool(self._read(self._names[bucket], key, partial(_written, into))))

    def _read(self, name: str, key: str, read: Callable[[urllib3.BaseHTTPResponse], Result]) -> Result | None:
        try:
            answer = self._client.get_object(name, key)
        except S3Error as fault:
            if fault.code in {"NoSuchKey", "NoSuchObject"}:
                return None
            raise
        try:
            return read(answer)
        finally:
            answer.close()
            answer.release_conn()

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        return await self._run(
            lambda: [
                str(found.object_name)
                for found in islice(
                    self._client.list_objects(self._names[bucket], prefix, recursive=True), _MOST_LISTED
                )
            ]
        )

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        return await self._run(lambda: self._page(self._names[bucket], prefix, after, limit))

    def _page(self, name: str, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        found = self._client.list_objects(name, prefix, recursive=True, start_after=after or None)
        return [StoredObject(str(one.object_name), one.size or 0, one.last_modified) for one in islice(found, limit)]

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        asked = [DeleteObject(key) for key in keys]
        parts = [asked[first : first + _DELETED_AT_ONCE] for first in range(0, len(asked), _DELETED_AT_ONCE)]
        refused = await asyncio.gather(*(self._run(partial(self._delete, self._names[bucket], part)) for part in parts))
        return [key for some in refused for key in some]

    def _delete(self, name: str, keys: Sequence[DeleteObject]) -> Collection[str]:
        faults = self._client.remove_objects(name, keys)
        return [str(fault.name) for fault in faults if fault.code != "NoSuchKey"]

    async def ping(self) -> None:
        for name in self._names.values():
            if not await self._run(lambda name=name: self._client.bucket_exists(name)):  # type: ignore[misc]
                raise StoreUnavailable(f"object storage: bucket {name} is missing; create it with: imagectl init")

    async def faults(self) -> Collection[str]:
        """Return what is wrong with the buckets: missing, the public one not readable, the private one public."""
        return await self._run(lambda: [fault for bucket in Bucket for fault in self._bucket_faults(bucket)])

    def _bucket_faults(self, bucket: Bucket) -> Iterator[str]:
        name = self._names[bucket]
        if not self._client.bucket_exists(name):
            yield f"bucket {name} is missing"
            return
        is_public = _is_readable(self._policy(name))
        if bucket is Bucket.PUBLIC and not is_public:
            yield f"bucket {name} cannot be read by everyone, so no picture would open"
        if bucket is Bucket.ORIGINALS and is_public:
            yield f"bucket {name} can be read by everyone, though originals are private"

    def _policy(self, name: str) -> Mapping[str, Any]:
        try:
            return dict(json.loads(self._client.get_bucket_policy(name)))
        except S3Error as fault:
            if fault.code == "NoSuchBucketPolicy":
                return {}
            raise

    async def server_time(self) -> datetime:
        """Return the server's clock, to the second, by the Date of an answer."""
        return await self._run(self._date)

    def _date(self) -> datetime:
        url = f"{self._endpoint}/"
        answer = self._pool.request("HEAD", url, retries=False)
        return parsedate_to_datetime(answer.headers.get("Date", ""))

    async def apply_buckets(self) -> Collection[str]:
        """Create both buckets where they are missing, the public one readable by everyone; return their names."""
        await self._run(self._apply_buckets)
        return list(self._names.values())

    def _apply_buckets(self) -> None:
        for name in self._names.values():
            if not self._client.bucket_exists(name):
                self._client.make_bucket(name)
        public = self._names[Bucket.PUBLIC]
        self._client.set_bucket_policy(public, json.dumps(_public_read(public)))

    async def _run(self, call: Callable[[], Result]) -> Result:
        with _translated():
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """End the threads. Calls under way are not waited for: a server that hangs would keep the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _written(into: Path, answer: urllib3.BaseHTTPResponse) -> bool:
    with into.open("wb") as file:
        for piece in answer.stream(_PIECE_BYTES):
            file.write(piece)
    return True


def _public_read(bucket: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["*"]},
                "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }


def _is_readable(policy: Mapping[str, Any]) -> bool:
    """Whether a policy lets everyone get objects."""
    return any(
        one.get("Effect") == "Allow"
        and "*" in _flat(one.get("Principal"))
        and {"s3:GetObject", "s3:*", "*"} & set(_flat(one.get("Action")))
        for one in policy.get("Statement", ())
    )


def _flat(value: Any) -> list[str]:
    """A policy writes one value, several, or several by kind."""
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in _flat(one)]
    return [value] if isinstance(value, str) else list(value or ())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as fault:
        raise StoreUnavailable(f"object storage: {type(fault).__name__}: {fault}") from fault
