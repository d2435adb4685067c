"""Parses URLs strictly, and decides which hosts and IP addresses a feed may fetch from."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from itertools import zip_longest
from urllib.parse import urljoin

from shared.domain.failures import Failure, Reason
from shared.domain.hosts import canonical_host, is_allowed_host

_MAX_URL_LENGTH = 8_192
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Stricter than urllib, so that no other parser can find another host in the same URL.
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::(?P<port>[0-9]{0,5}))?")

# From the IANA special-purpose registries. Not `ipaddress.is_global`: its answers changed between patch releases.
_REFUSED_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            "168.63.129.16/32",  # a public address, but on Azure's machines a metadata service that hands out secrets
        ),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # all else is local, multicast, mapped IPv4 or unassigned, but for NAT64
_NAT64 = IPv6Network("64:ff9b::/96")
"""Networks without IPv4 reach an IPv4 address through it (RFC 6052): its last four bytes are that address."""
_REFUSED_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo, benchmarking, ORCHID
            "2001:db8::/32",
            "2002::/16",  # 6to4: may contain any IPv4 address
            "3fff::/20",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class FetchTarget:
    """The checked parts of a URL that a feed may fetch.

    `host` is a host name or an IP address, spelled as `canonical_host` returns it; an IPv6 address has no brackets.
    `target` is the path and the query.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)  # path and query; may hold a signature, so it must not be logged

    @property
    def authority(self) -> str:
        """The value of this URL's Host header: the host, and the port unless it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The complete URL, assembled from the checked parts. A URL may hold a signature, so it must not be logged."""
        return f"{self.scheme}://{self.authority}{self.target}"


def fetch_target(url: str, image_hosts: Iterable[str]) -> FetchTarget | Failure:
    """Parse a URL, check its host and port against the feed's `image_hosts`, and return the URL's parts.

    Return a Failure with BAD_URL if the URL is not valid, or with REFUSED_HOST if `image_hosts` does not list the host
    with the port. The failure's detail holds at most the host's name and port, never the rest of the URL.
    """
    if error := _text_error(url):
        return Failure(Reason.BAD_URL, error)
    target = _parse(url)
    if isinstance(target, Failure) or is_allowed_host(target.host, target.port, image_hosts):
        return target
    return Failure(Reason.REFUSED_HOST, f"{target.host} port {target.port} is not in the feed's image_hosts")


def redirect_target(base: FetchTarget, location: str, image_hosts: Iterable[str]) -> FetchTarget | Failure:
    """Parse the `Location` header of a redirect from the URL `base`, and check its host as `fetch_target` does.

    A relative location is resolved against `base`. Return the parts of the redirect's URL, or a Failure with BAD_URL or
    REFUSED_HOST.
    """
    if error := _text_error(location):  # before urljoin, which removes tabs and line ends
        return Failure(Reason.BAD_URL, f"redirect from {base.host}: {error}")
    try:
        return fetch_target(urljoin(base.url, location), image_hosts)
    except ValueError:
        return Failure(Reason.BAD_URL, f"redirect from {base.host} to something that is no URL")


def is_refused_address(address: str) -> bool:
    """Return True if an IP address is private, reserved or otherwise not public, or if the text is no IP address.

    Only feeds with `allow_private_addresses` may connect to a refused address. A NAT64 address, which contains an IPv4
    address, is judged by that IPv4 address.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return True
    if ip.version == 6 and ip.scope_id is None and ip in _NAT64:
        ip = IPv4Address(ip.packed[-4:])
    if ip.version == 4:
        return any(ip in network for network in _REFUSED_IPV4)
    return ip.scope_id is not None or ip not in _GLOBAL_IPV6 or any(ip in network for network in _REFUSED_IPV6)


def by_turns(addresses: Sequence[str]) -> list[str]:
    """Return the IP addresses so that IPv6 and IPv4 addresses alternate, as RFC 8305 recommends in section 4.

    The first address stays the first, and the addresses of each kind keep their order. When one kind has run out, the
    rest of the other kind follows. `addresses` must not be empty.
    """
    is_first_ipv6 = ":" in addresses[0]
    first = [address for address in addresses if (":" in address) is is_first_ipv6]
    second = [address for address in addresses if (":" in address) is not is_first_ipv6]
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def is_same_site(target: FetchTarget, other: FetchTarget) -> bool:
    """Return True if both URLs have the same host, and either the same port or each the default port of its scheme."""
    ports = {each.port - _DEFAULT_PORTS[each.scheme] for each in (target, other)}
    return target.host == other.host and (target.port == other.port or ports == {0})


def _text_error(url: str) -> str:
    """Return an error message if the URL is too long or holds a forbidden character, else an empty string."""
    if len(url) > _MAX_URL_LENGTH:
        return f"the URL is longer than {_MAX_URL_LENGTH} characters"
    if not url.isprintable() or " " in url or "\\" in url:
        return "the URL holds a blank, a backslash or a control character"
    return ""


def _parse(url: str) -> FetchTarget | Failure:
    parts = _URL.fullmatch(url)
    if parts is None:
        return Failure(Reason.BAD_URL, "the URL does not start with http:// or https://")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    host = canonical_host(authority["host"]) if authority else None
    if authority is None or host is None:
        return Failure(Reason.BAD_URL, "the URL's host is neither a plain host name nor a plain IP address")
    scheme = parts["scheme"].lower()
    port = int(authority["port"] or _DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65_535:
        return Failure(Reason.BAD_URL, "the URL's port is not between 1 and 65535")
    path_and_query = parts["target"]
    return FetchTarget(scheme, host, port, path_and_query if path_and_query.startswith("/") else "/" + path_and_query)
