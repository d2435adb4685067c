"""Where are an MLS's photos? Cleans the URLs of a property record, and keeps them out of captions."""

import html
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from urllib.parse import unquote

_BLANKS = re.compile(r"[\s\x00-\x20\x7f\u200b\ufeff\ud800-\udfff]")
"""Blanks, control characters, and halves of a surrogate pair, which no encoding has."""
_CLEAN = re.compile(
    r"https?://[^/?#\s\x00-\x20\x7f\u200b\ufeff\ud800-\udfff]+(?:[/?#][^\s\x00-\x20\x7f\u200b\ufeff\ud800-\udfff]*)?"
)
"""A URL without any of these. Nearly all are."""
_URL = re.compile(r"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_SUSPICIOUS = re.compile(r"[./:%&\\]")
"""A caption with none of these has no URL, escaped or not."""
_MAX_ESCAPES = 3
"""How often a caption's escapes are undone: a URL in it may be escaped twice."""
_MIN_PATH = 6
"""Shorter paths than this, in characters, are words that a caption may have by chance."""


def cleaned(url: str) -> str:
    """Return the URL without blanks and control characters at its ends, and with those inside it percent-encoded.

    Raises ValueError if the text is no http(s) URL, or if its host and port contain such a character.
    """
    if _CLEAN.fullmatch(url):
        return url
    url = url.strip().strip("\x00\u200b\ufeff")
    if (parts := _URL.match(url)) is None:
        raise ValueError("MediaURL is not an http(s) URL")
    if not parts[1] or _BLANKS.search(parts[1]):
        raise ValueError("MediaURL has no valid host")
    return _BLANKS.sub(_encoded, url)


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))


class UrlFilter:
    """Finds captions that contain a URL of the MLS: answers show captions, but must not show any URL of the MLS.

    `urls` yields all URLs of a property record; `image_hosts` are the feed's hosts as in `feeds.toml`.
    """

    def __init__(self, urls: Iterable[str], image_hosts: Collection[str]) -> None:
        self._urls = urls
        self._image_hosts = image_hosts

    def is_clean(self, caption: str) -> bool:
        """Return True if the caption contains no URL of the MLS.

        A URL is found whether it is whole or without scheme or host, and whether it is escaped or not.
        """
        if not _SUSPICIOUS.search(caption):
            return True
        return not any(self._is_named_in(text) for text in _unescaped(caption))

    @cached_property
    def _parts(self) -> tuple[Collection[str], Collection[str]]:
        """The hosts of the MLS, and the paths of its URLs with their queries, all in lower case.

        Computed only if a caption looks as if it contained a URL.
        """
        named = (host.casefold().removeprefix("*.") for host in self._image_hosts)
        parts = [parts.groups() for url in self._urls if (parts := _URL.match(url.casefold()))]
        authorities = {authority.rpartition("@")[2] for authority, _ in parts}
        paths = (path.lstrip("/") for _, path in parts)
        return (
            {host.partition(":")[0] for host in (*named, *authorities)} - {""},
            {path for path in paths if "/" in path and len(path) >= _MIN_PATH},
        )

    def _is_named_in(self, text: str) -> bool:
        hosts, paths = self._parts
        if any(host in text and ("." in host or f"{host}/" in text or f"{host}:" in text) for host in hosts):
            return True
        return "/" in text and any(path in text for path in paths)


def _unescaped(caption: str) -> Collection[str]:
    """Return the caption in lower case, and its texts after one, two and three rounds of undoing escapes."""
    text = caption.casefold()
    found = {text}
    for _ in range(_MAX_ESCAPES):
        text = html.unescape(unquote(text)).replace("\\u002f", "/").replace("\\", "").casefold()
        found.add(text)
    return found
