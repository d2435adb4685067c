"""Object storage in any S3 server. Only this module imports minio-py; its blocking calls run in threads."""

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

_THREADS = 16
_MAX_LISTED_KEYS = 10_000
_CHUNK_BYTES = 262_144
_PART_BYTES = 5 * 2**20
_LARGE_UPLOAD_CONCURRENCY = 2
"""Uploads of files of more than one part: each holds a part in memory, twice."""
_DELETE_BATCH_SIZE = 250
"""S3 allows a thousand keys in a request, but servers delete them one by one: several smaller requests run faster."""
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


class MinioObjects:
    """Reads and writes objects in an S3 server, through minio-py in threads; implements Objects.

    `settings` name the server, its access keys and the two buckets. `imagectl` also creates and checks the buckets with
    this class. Call `close` at the end.
    """

    def __init__(self, settings: Settings) -> None:
        endpoint = urlsplit(settings.s3_endpoint)
        timeout = urllib3.Timeout(connect=3, read=30)
        self._endpoint = settings.s3_endpoint
        self._pool = urllib3.PoolManager(
            maxsize=_THREADS, timeout=timeout, retries=urllib3.Retry(2, backoff_factor=0.2)
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
        self._large_uploads = asyncio.Semaphore(_LARGE_UPLOAD_CONCURRENCY)
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")

    async def put(self, bucket: Bucket, key: str, source: Path, content_type: str) -> None:
        is_large = source.stat().st_size > _PART_BYTES  # noqa: ASYNC240 - of a file just written
        async with self._large_uploads if is_large else nullcontext():
            await self._run(
                lambda: self._client.fput_object(
                    self._names[bucket],
                    key,
                    str(source),
                    content_type=content_type,
                    metadata=dict(_IMMUTABLE),
                    part_size=_PART_BYTES,
                    num_parallel_uploads=1,  # files are uploaded side by side already
                )
            )

    async def get(self, bucket: Bucket, key: str) -> bytes | None:
        return await self._run(lambda: self._read(self._names[bucket], key, lambda response: bytes(response.read())))

    async def save(self, bucket: Bucket, key: str, into: Path) -> bool:
        return await self._run(lambda: bool(self._read(self._names[bucket], key, partial(_write_chunks, into))))

    def _read(self, name: str, key: str, read: Callable[[urllib3.BaseHTTPResponse], Result]) -> Result | None:
        """Get an object, and return what `read` returns for the response; None if the bucket `name` has no such object.

        The response is closed afterwards. This method blocks, and raises minio-py's exceptions.
        """
        try:
            response = self._client.get_object(name, key)
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject"}:
                return None
            raise
        try:
            return read(response)
        finally:
            response.close()
            response.release_conn()

    async def list(self, bucket: Bucket, prefix: str) -> Collection[str]:
        return await self._run(
            lambda: [
                str(found.object_name)
                for found in islice(
                    self._client.list_objects(self._names[bucket], prefix, recursive=True), _MAX_LISTED_KEYS
                )
            ]
        )

    async def page(self, bucket: Bucket, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        return await self._run(lambda: self._page(self._names[bucket], prefix, after, limit))

    def _page(self, name: str, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        found = self._client.list_objects(name, prefix, recursive=True, start_after=after or None)
        return [
            StoredObject(str(item.object_name), item.size or 0, item.last_modified) for item in islice(found, limit)
        ]

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        objects = [DeleteObject(key) for key in keys]
        batches = [objects[first : first + _DELETE_BATCH_SIZE] for first in range(0, len(objects), _DELETE_BATCH_SIZE)]
        name = self._names[bucket]
        refused = await asyncio.gather(*(self._run(partial(self._delete, name, batch)) for batch in batches))
        return [key for batch in refused for key in batch]

    def _delete(self, name: str, keys: Sequence[DeleteObject]) -> Collection[str]:
        errors = self._client.remove_objects(name, keys)
        return [str(error.name) for error in errors if error.code != "NoSuchKey"]

    async def ping(self) -> None:
        for name in self._names.values():
            if not await self._run(lambda name=name: self._client.bucket_exists(name)):  # type: ignore[misc]
                raise StoreUnavailable(f"object storage: bucket {name} is missing; create it with: imagectl init")

    async def faults(self) -> Collection[str]:
        """Return sentences for operators, one about each fault of the two buckets; empty if there is no fault.

        The faults are: a bucket is missing, the public one is not readable by everyone, the private one is readable by
        everyone. Raises StoreUnavailable.
        """
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
        except S3Error as error:
            if error.code == "NoSuchBucketPolicy":
                return {}
            raise

    async def server_time(self) -> datetime:
        """Return the S3 server's time, to the second, from the Date header of a response. Raises StoreUnavailable."""
        return await self._run(self._date)

    def _date(self) -> datetime:
        url = f"{self._endpoint}/"
        response = self._pool.request("HEAD", url, retries=False)
        return parsedate_to_datetime(response.headers.get("Date", ""))

    async def apply_buckets(self) -> Collection[str]:
        """Create the missing buckets, and let everyone get the objects of the public one; return both buckets' names.

        Raises StoreUnavailable.
        """
        await self._run(self._apply_buckets)
        return list(self._names.values())

    def _apply_buckets(self) -> None:
        for name in self._names.values():
            if not self._client.bucket_exists(name):
                self._client.make_bucket(name)
        public = self._names[Bucket.PUBLIC]
        self._client.set_bucket_policy(public, json.dumps(_public_read(public)))

    async def _run(self, call: Callable[[], Result]) -> Result:
        """Run `call`, which may block, in a thread of this object, and return its result. Raises StoreUnavailable."""
        with _translated():
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """End the threads of this object without waiting for the calls in them. No method may be called afterwards.

        If it waited, a server that hangs would keep the process alive.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)


def _write_chunks(into: Path, response: urllib3.BaseHTTPResponse) -> bool:
    """Write the body of a response into the file `into`, chunk by chunk to save memory. Always return True.

    `save` returns the result: True says that there was an object to write.
    """
    with into.open("wb") as file:
        for chunk in response.stream(_CHUNK_BYTES):
            file.write(chunk)
    return True


def _public_read(bucket: str) -> dict[str, object]:
    """Return the S3 bucket policy that lets everyone get the objects of the bucket `bucket`, but not list them."""
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
    """Return True if an S3 bucket policy lets everyone get objects; False if not, or if the policy is empty."""
    return any(
        statement.get("Effect") == "Allow"
        and "*" in _texts(statement.get("Principal"))
        and {"s3:GetObject", "s3:*", "*"} & set(_texts(statement.get("Action")))
        for statement in policy.get("Statement", ())
    )


def _texts(value: Any) -> list[str]:
    """Return all strings in a value of a bucket policy, such as the value of `Action` or `Principal`.

    The value is a string, a list of strings, or an object of such values. The result is empty if it is None.
    """
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    return [value] if isinstance(value, str) else list(value or ())


@contextmanager
def _translated() -> Iterator[None]:
    """Turn exceptions of minio-py, and of the connection to the S3 server, inside the context into StoreUnavailable."""
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise StoreUnavailable(f"object storage: {type(error).__name__}: {error}") from error
