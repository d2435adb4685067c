"""Writes an untrusted body of unknown size to a file, piece by piece, and counts and hashes its bytes."""

import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.domain.failures import Failure, Reason

_PIECE_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class SavedBody:
    """A complete, decoded body in the file `path`, which the caller has to delete.

    `file_size` is in bytes, `sha256` in hex.
    """

    path: Path
    file_size: int
    sha256: str


class BadBody(Exception):
    """The body of an origin's answer cannot be used. `failure` is the attempt's failure, with the reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)


def check_announced(size: int, limit: int) -> None:
    """Raise BadBody if the size in bytes that an answer's head announces for the body is over the limit."""
    if size > limit:
        raise BadBody(Reason.TOO_LARGE, f"the file is announced as over {limit} bytes")


async def save(pieces: AsyncIterator[bytes], encoding: str, into: Path, limit: int) -> SavedBody:
    """Decode a body and write it to a new file in the directory `into`; leave no file if this raises.

    `pieces` yields the body as received, and `encoding` is its Content-Encoding, empty for none. Raises BadBody if the
    body is empty, over `limit` bytes when decoded, or cannot be decoded. Raises OSError if the disk is full. Exceptions
    of `pieces` are passed on.
    """
    size, digest = 0, hashlib.sha256()
    with _new_file(into) as file:
        async for piece in _decoded(pieces, encoding.strip().lower()):
            size += len(piece)
            if size > limit:
                raise BadBody(Reason.TOO_LARGE, f"the file is over {limit} bytes")
            digest.update(piece)
            file.write(piece)
        if not size:
            raise BadBody(Reason.BROKEN_BODY, "the body is empty")
    return SavedBody(Path(file.name), size, digest.hexdigest())


@contextmanager
def _new_file(into: Path) -> Iterator[IO[bytes]]:
    """Open a new file in the directory `into`, and delete the file again if the `with` block raises."""
    with tempfile.NamedTemporaryFile(dir=into, prefix="fetch-", delete=False) as file:
        try:
            yield file
            file.flush()  # inside the `try`, so that a full disk deletes the file too
        except BaseException:
            Path(file.name).unlink()
            raise


async def _decoded(pieces: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Yield the pieces of a body, decompressed if the body is compressed.

    A body counts as compressed if its first bytes are those of gzip, or if they are those of zlib and `encoding` says
    deflate. `encoding` alone does not decide: servers send `utf-8`, `aws-chunked` or `none`, and `gzip` for bodies that
    they did not compress. Requests ask for no compression, but object stores send a file compressed if it was stored
    compressed. Raises BadBody if a compressed body is damaged or ends early.
    """
    head = b""
    async for piece in pieces:
        head += piece
        if len(head) >= 2:
            break
    if not head:
        return
    is_zlib = head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0
    is_compressed = head.startswith(b"\x1f\x8b") or ("deflate" in encoding and is_zlib)
    rest = _after(head, pieces)
    async for piece in _inflated(rest) if is_compressed else rest:
        yield piece


async def _after(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in pieces:
        yield piece


async def _inflated(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Decompress a body of gzip or zlib, and yield it in pieces of at most _PIECE_BYTES.

    The body may be a decompression bomb: in small pieces it cannot fill the memory. Raises BadBody if the body is
    damaged or ends early.
    """
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: detects gzip or zlib by the first bytes
    try:
        async for raw in pieces:
            rest = raw
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _PIECE_BYTES)
                rest = inflate.unconsumed_tail
            if inflate.eof:
                return  # bytes after the end are not read: they would only fill the memory
    except zlib.error as error:
        raise BadBody(Reason.BROKEN_BODY, "the compressed body is damaged") from error
    raise BadBody(Reason.BROKEN_BODY, "the compressed body ended early")
