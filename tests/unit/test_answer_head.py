"""Tests that the heads of answers that browsers take are taken, and that others are left to h11."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.downloader.answer_head import HeadRepair
from services.downloader.answers import Fetched
from services.downloader.fetch import Fetcher
from tests.origins import (
    PHOTO,
    PUBLIC,
    FakeDialer,
    FakeResolver,
    Origin,
    PhotoFetch,
    a_sandbox,
    certified,
    running,
    trusting,
    write,
)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running(Origin()) as started:
        yield started


@pytest.fixture
async def fetch_photo(tmp_path: Path) -> AsyncIterator[PhotoFetch]:
    async with Fetcher({}) as fetcher:
        yield PhotoFetch(fetcher, tmp_path)


HEADS = {
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 256000\n\n",
    "a blank in a name": b"HTTP/1.1 200 OK\r\nX Cache: hit\r\n folded\r\nContent-Length: 256000\r\n\r\n",
    "a blank behind a name": b"HTTP/1.1 200 OK\r\nContent-Length : 256000\r\n\r\n",
    "latin-1": b'HTTP/1.1 200 OK\r\nX-Name: "Ch\xe2teau.jpg"\r\nContent-Length: 256000\r\n\r\n',
    "no colon": b"HTTP/1.1 200 OK\r\nServed by node seven\r\nContent-Length: 256000\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: nothing\r\nContent-Length: 256000\r\n\r\n",
    "control characters": b"HTTP/1.1 200 O\0K\r\nX-Name: a\0b\x0bc\rd\r\nContent-Length: 256000\r\n\r\n",
    "a fold at the start": b"HTTP/1.1 200 OK\r\n folded\r\nContent-Length: 256000\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 256000\r\n\r\n",
    "a short version": b"HTTP/2 200\r\nContent-Length: 256000\r\n\r\n",
    "small letters": b"http/1.1  200  ok\r\nContent-Length: 256000\r\n\r\n",
    "blank lines before": b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n",
    "no transfer encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 256000\r\n\r\n",
    "hints with a fault": (
        b"HTTP/1.1 103 Hints\r\nno colon\r\n\r\nHTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 256000\r\n\r\n"
    ),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
async def test_a_head_with_a_fault_that_browsers_take_is_taken_in_pieces_too(
    origin: Origin, fetch_photo: PhotoFetch, head: bytes
) -> None:
    async def in_pieces(writer: asyncio.StreamWriter) -> None:
        for at in range(len(head)):
            await write(writer, head[at : at + 1])
            await asyncio.sleep(0)
        await write(writer, PHOTO)

    for reply in (head + PHOTO, in_pieces, head + PHOTO):
        origin.replies["/photo.jpg"] = reply
        outcome = await fetch_photo(origin.url(), a_sandbox(origin.host))
        assert isinstance(outcome, Fetched), outcome
        assert outcome.path.read_bytes() == PHOTO
    assert origin.connections == 1


async def test_a_head_with_a_fault_is_taken_over_tls(tmp_path: Path) -> None:
    reply = HEADS["no colon"] + PHOTO
    async with running(Origin({"/photo.jpg": reply}), certified(tmp_path)) as origin:
        dial = FakeDialer(origin)
        async with Fetcher({}, resolve=FakeResolver([[PUBLIC]]), dial=dial, tls=trusting()) as fetcher:
            feed = a_sandbox("photos.example.com", private=False)
            assert isinstance(
                await PhotoFetch(fetcher, tmp_path)("https://photos.example.com/photo.jpg", feed), Fetched
            )


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([b"garbage\r\n\r\n"], b"garbage\r\n\r\n"),
        ([b"HTTP/1.1 200 OK\r\nno end", b""], b"HTTP/1.1 200 OK\r\nno end"),
        ([b"a" * 110_000, b"\r\n\r\nbody"], b"a" * 110_000 + b"\r\n\r\nbody"),
        ([b"HTTP/1.1 101 Other\r\n\r\nbody\n\n"], b"HTTP/1.1 101 Other\r\n\r\nbody\n\n"),
        ([b"HTTP/1.1 200 OK\n\nbody: \n\n", b"no colon\n\n"], b"HTTP/1.1 200 OK\r\n\r\nbody: \n\nno colon\n\n"),
        (
            [b"HTTP/1.0 200 OK\nTransfer-Encoding: gzip, Chunked\nA:b\n\n"],
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
        ),
    ],
    ids=["garbage", "cut", "endless", "other protocol", "body", "chunked"],
)
def test_only_heads_are_repaired(received: list[bytes], expected: bytes) -> None:
    repair = HeadRepair()
    assert repair.receive(b"no: head \n") == b"no: head \n"
    repair.expect_head()
    assert b"".join(map(repair.receive, received)) == expected
