"""What do the values of a property record say? Texts, lists of texts and flags, in the spellings that MLSs use."""

import base64
from collections.abc import Iterable
from enum import Enum
from functools import cache, lru_cache

_MAX_CACHED_LENGTH = 100
_YES = frozenset({"true", "t", "yes", "y", "1", "on"})
_NO = frozenset({"false", "f", "no", "n", "0", "off"})
_ENCODED = "b__"
_MAX_EXACT_FLOAT = 2.0**53


class Flag(Enum):
    """What a yes-or-no field of a property record says."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The value is none of the known spellings."""


def flag(value: object) -> Flag | None:
    """Return what a yes-or-no field says; None if it is null, or an empty or blank value."""
    if value is None or (isinstance(value, (str, list, dict)) and not value):
        return None
    words = plain(str(value)) if isinstance(value, (str, bool)) else text(value)
    if words == "":
        return None
    return Flag.YES if words in _YES else Flag.NO if words in _NO else Flag.UNKNOWN


def text(value: object) -> str | None:
    """Return a text unchanged, and a whole number as its digits; None for a blank text and for any other value."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT_FLOAT:
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def texts(value: object) -> list[str]:
    """Return the texts in a list, or the parts of a text between its commas; empty for any other value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


def plain(word: str) -> str:
    """Return the word in lower case and without spaces, so that all spellings of a word are equal.

    MLSs write "Active Under Contract" or "ActiveUnderContract", or `b__` and the first in Base64, which is decoded.
    """
    return _plain_word(word) if len(word) <= _MAX_CACHED_LENGTH else "".join(word.split()).casefold()


@cache
def plain_set(names: Iterable[str]) -> frozenset[str]:
    """Return the names from a key of `feeds.toml`, each as `plain` returns it.

    `names` must be a tuple. The result is cached, because each row is compared with it.
    """
    return frozenset(map(plain, names))


@lru_cache(maxsize=1_000)  # the records of a market repeat the same few words in every row
def _plain_word(word: str) -> str:
    return "".join(readable(word).split()).casefold()


def readable(word: str) -> str:
    """Return the word decoded if it is written as `b__` and Base64; any other word unchanged.

    Spark writes words with spaces in Base64.
    """
    if not word.startswith(_ENCODED):
        return word
    digits = word.removeprefix(_ENCODED)
    try:
        return base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4)).decode()
    except ValueError:
        return word
