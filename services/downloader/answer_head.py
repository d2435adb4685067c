"""Repairs heads of origins' answers that browsers accept, but that h11, which parses answers for httpcore, does not."""

import re

_MAX_BYTES = 100 * 1024
"""h11's own limit of a head; a longer one is left to h11, which refuses it."""
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?:[ \t]+(.*))?", re.IGNORECASE)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLDED = (b" ", b"\t")
_WITHOUT_CONTROLS = bytes(0x20 if (byte < 32 and byte != 9) or byte == 127 else byte for byte in range(256))
"""A table for `bytes.translate` that makes blanks of control characters."""


class HeadRepair:
    """Repairs the heads (status line and headers) of HTTP answers in the bytes that a connection receives.

    The connection calls `expect_head` before each request, and `receive` with all bytes that it receives.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._is_in_head = False

    def expect_head(self) -> None:
        """Expect the head of an answer in the bytes that are received next. Called before each request."""
        self._buffer = b""
        self._is_in_head = True

    def receive(self, data: bytes) -> bytes:
        """Return the bytes that the connection passes to h11 in place of the received bytes `data`.

        A head is returned repaired, once all of it is received; while the head is incomplete, the result is empty. The
        bytes of a body are returned unchanged. `data` is empty if the connection has ended; then the rest of an
        incomplete head is returned unchanged.
        """
        if not self._is_in_head:
            return data
        self._buffer = (self._buffer + data).lstrip(b"\r\n")
        ready = b""
        while self._is_in_head and (end := _HEAD_END.search(self._buffer)):
            head, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
            ready += repaired(head)
            self._is_in_head = _is_informational(head)
        if not self._is_in_head or not data or len(self._buffer) > _MAX_BYTES:
            self._is_in_head = False
            ready, self._buffer = ready + self._buffer, b""
        return ready


def repaired(head: bytes) -> bytes:
    """Return the head of an HTTP answer in a form that h11 can read.

    `head` ends before its last line end; the result includes it and the empty line that ends a head. A header line that
    has no colon or an invalid name is left out, with its continuation lines. A blank between name and colon is removed,
    and control characters become blanks. Of a Transfer-Encoding, only `chunked` is kept.
    """
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    kept = [_status_line(first)]
    is_kept = False
    for line in lines:
        if line.startswith(_FOLDED):
            kept += [line.translate(_WITHOUT_CONTROLS)] if is_kept else []
            continue
        name, colon, value = line.partition(b":")
        header = _header(name.rstrip(), value.translate(_WITHOUT_CONTROLS).strip()) if colon else None
        is_kept = header is not None
        kept += [header] if header is not None else []
    return b"\r\n".join([*kept, b"", b""])


def _status_line(line: bytes) -> bytes:
    found = _STATUS_LINE.fullmatch(line.translate(_WITHOUT_CONTROLS).strip())
    if found is None:
        return line
    major, minor, status, reason = found.groups()
    version = b"1.0" if (major, minor) == (b"1", b"0") else b"1.1"
    return b"HTTP/%b %b %b" % (version, status, reason or b"")


def _header(name: bytes, value: bytes) -> bytes | None:
    """Return the repaired line of one header, or None if the header is to be left out."""
    if not _NAME.fullmatch(name):
        return None
    if name.lower() == b"transfer-encoding":
        codings = [coding.strip() for coding in value.lower().split(b",")]
        return b"Transfer-Encoding: chunked" if b"chunked" in codings else None
    return b"%b: %b" % (name, value)


def _is_informational(head: bytes) -> bool:
    """Return True if the head of another answer follows `head`.

    Another head follows a status 1xx. The exception is 101, after which the connection no longer speaks HTTP.
    """
    found = _STATUS_LINE.match(head)
    return found is not None and found[3].startswith(b"1") and found[3] != b"101"
