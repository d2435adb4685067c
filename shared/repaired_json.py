"""Decodes JSON as MLSs send it: also with a byte order mark, bytes of Windows-1252, or halves of surrogate pairs."""

import json
import re
from typing import Any

import orjson

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
"""The bytes that Python's error handler `surrogateescape` could not decode."""


def loads(body: bytes) -> Any:
    """Decode a JSON text, and return its value, with faulty characters repaired.

    Valid JSON is decoded as usual. Otherwise, a byte order mark is dropped, bytes that are not UTF-8 are read as
    Windows-1252, raw control characters in texts are kept, NaN becomes None, and half of a surrogate pair becomes
    U+FFFD. Raises orjson.JSONDecodeError if the text is not JSON even with these repairs.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return repaired(_DECODER.decode(_text(body)))
        except (ValueError, RecursionError):
            raise error from None


def _integer(text: str) -> int | float:
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)  # orjson encodes no larger integer


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer, parse_constant=lambda _: None)


def _text(body: bytes) -> str:
    encoding = json.detect_encoding(body)
    if not encoding.startswith("utf-8"):
        return body.decode(encoding, "replace").removeprefix("\ufeff")
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
        return _ESCAPED_BYTE.sub(lambda found: bytes([ord(found[0]) - 0xDC00]).decode("cp1252", "replace"), text)


def repaired(value: Any) -> Any:
    """Return a copy of a decoded JSON value, repaired so that all its texts can be encoded as UTF-8.

    If both halves of a surrogate pair follow each other in a text, they become their character. Half of a pair alone
    becomes U+FFFD.
    """
    if isinstance(value, str):
        if not _SURROGATE.search(value):
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {repaired(name): repaired(content) for name, content in value.items()}
    if isinstance(value, list):
        return [repaired(content) for content in value]
    return value
