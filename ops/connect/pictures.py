"""Fetches a few photos for a survey, to see whether they open, and to which hosts requests are redirected."""

import asyncio
import http.client
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError

from ops.connect import sample

_SECONDS = 20.0
_MAX_BYTES = 30_000_000
_MAX_PICTURES = 2


@dataclass(frozen=True, slots=True)
class SampledPictures:
    """The results of requests for photos: a phrase for each photo, and the hosts that requests were redirected to."""

    answers: tuple[str, ...]
    redirect_hosts: tuple[str, ...]


async def fetch_some(records: Sequence[Mapping[str, Any]], headers: Mapping[str, str]) -> SampledPictures:
    """Fetch one photo of each of the first two property records that have photos, and return the results.

    `headers` are sent to the image hosts. An error is a result too, and raises nothing.
    """
    urls = [
        str(photos[0]["MediaURL"])
        for record in records
        if (photos := [row for row in sample.rows_of(record) if sample.is_photo(row) and sample.host_of(row)])
    ]
    hosts: list[str] = []
    answers = [await asyncio.to_thread(_fetch, url, headers, hosts) for url in urls[:_MAX_PICTURES]]
    return SampledPictures(tuple(answers), tuple(dict.fromkeys(hosts)))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and appends the host of each redirect's target to `hosts`."""

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts

    def redirect_request(self, *args: Any, **kwargs: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args, **kwargs)
        if request is not None and (host := sample.host_in(request.full_url)):
            self._hosts.append(host)
        return request


def _fetch(url: str, headers: Mapping[str, str], hosts: list[str]) -> str:
    """Fetch a URL, and return a phrase such as `200 image/jpeg, 34,567 bytes`, or `no answer` with the error.

    The hosts that the request is redirected to are appended to `hosts`.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Redirects(hosts))
    request = urllib.request.Request(url, headers={"User-Agent": "listing-images", **headers})  # noqa: S310 - http(s) only
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            body = answer.read(_MAX_BYTES)
            return f"{answer.status} {answer.headers.get_content_type()}, {len(body):,} bytes"
    except HTTPError as error:
        return f"{error.code} {error.headers.get_content_type()}"
    except (URLError, OSError, http.client.HTTPException) as error:
        return f"no answer ({type(error).__name__})"
