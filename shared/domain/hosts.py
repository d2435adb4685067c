"""Which hosts may a feed fetch from? Checks `image_hosts` when a service starts, and each request's host against it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATTERN = re.compile(r"(\*\.)?(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_MAX_NAME_LENGTH = 253
_WEB_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A parsed entry of `image_hosts`: a host or all subdomains of a host, and the ports that are allowed."""

    host: str
    """The host, as spelled by `canonical_host`."""
    covers_subdomains: bool
    """True if the entry allows all subdomains of the host, and not the host itself ("*.example.com")."""
    ports: tuple[int, ...]

    def allows(self, host: str, port: int) -> bool:
        """Return True if this entry allows requests to the host and the port.

        `host` must be spelled as `canonical_host` returns it.
        """
        is_named = host.endswith("." + self.host) if self.covers_subdomains else host == self.host
        return is_named and port in self.ports


def is_allowed_host(host: str, port: int, patterns: Iterable[str]) -> bool:
    """Return True if one of the `image_hosts` entries in `patterns` allows requests to the host and the port.

    The spelling of the host does not matter (`canonical_host`). Return False if `host` is not a valid host. An entry
    that is not valid allows nothing.
    """
    canonical = canonical_host(host)
    parsed = (_parse(pattern) for pattern in patterns)
    return canonical is not None and any(
        isinstance(pattern, _Pattern) and pattern.allows(canonical, port) for pattern in parsed
    )


def pattern_error(pattern: str) -> str | None:
    """Return an error about an entry of `image_hosts`; None if the entry is valid.

    The error is a phrase that follows the quoted entry.
    """
    parsed = _parse(pattern)
    return parsed if isinstance(parsed, str) else None


def canonical_host(host: str) -> str | None:
    """Return the host in the one spelling in which hosts are compared and connected to; None if it is not a valid host.

    A name is returned in lower case, as ASCII (IDNA) and without a trailing dot. An address is returned in its shortest
    form and without brackets. Short, octal and hexadecimal IPv4 addresses and IPv6 zones are not valid, because
    programs disagree about their meaning.
    """
    if ":" in host:
        return _ipv6(host)
    name = _ascii(host.removesuffix("."))
    labels = name.split(".")
    if len(name) > _MAX_NAME_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return _ipv4(name) if _NUMBER.fullmatch(labels[-1]) else name


def is_address(host: str) -> bool:
    """Return True if the host is an IP address, False if it is a name; `host` is as `canonical_host` returns it."""
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _ipv6(host: str) -> str | None:
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return None if "%" in inner else IPv6Address(inner).compressed
    except AddressValueError:
        return None


def _ipv4(host: str) -> str | None:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        return None


def _ascii(name: str) -> str:
    """Return a host name in lower case, encoded as IDNA; an empty text if the name cannot be encoded.

    Also empty if decoding would return another name: IDNA turns full-width dots, ß and ligatures into other characters.
    """
    if name.isascii() or len(name) > _MAX_NAME_LENGTH:
        return name.lower()
    try:
        encoded = name.encode("idna")
        return encoded.decode("ascii").lower() if encoded.decode("idna").lower() == name.lower() else ""
    except UnicodeError:
        return ""


@lru_cache(maxsize=1024)
def _parse(pattern: str) -> _Pattern | str:
    if "/" in pattern or "@" in pattern:
        return 'is more than a host; give the host alone, as in "images.example.com" or "127.0.0.1:9000"'
    match = _PATTERN.fullmatch(pattern)
    host = canonical_host(match[2]) if match else None
    if match is None or host is None:
        return 'is not a host name or an IP address; a "*" may only be the first label, a port only 1 to 5 digits'
    if match[3] is not None and not 1 <= int(match[3]) <= 65_535:
        return "has a port that is not between 1 and 65535"
    covers_subdomains = match[1] is not None
    if covers_subdomains and ("." not in host or is_address(host)):
        return 'is too wide; a "*" needs a domain after it, as in "*.example.com"'
    return _Pattern(host, covers_subdomains, (int(match[3]),) if match[3] else _WEB_PORTS)
