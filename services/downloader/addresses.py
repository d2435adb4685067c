"""What may be fetched at all? Takes a URL apart in one strict way, and knows which addresses are off limits."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urljoin

from shared.domain.failures import Failure, Reason
from shared.domain.hosts import canonical_host, host_allowed

_LONGEST_URL = 8_192
_DEFAULT_PORTS = {"http": 80, "https": 443}

# One strict reading instead of urllib's lenient one, so that no other parser can see another host than we did.
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::(?P<port>[0-9]{0,5}))?")

# From the IANA special-purpose registries. Our own table: `ipaddress.is_global` changed between patch releases.
_REFUSED_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            "168.63.129.16/32",  # public by number, but answers Azure's machines with their own secrets
        ),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # everything else is local, multicast, mapped IPv4, NAT64 or not given out
_REFUSED_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Teredo, benchmarking, ORCHID
            "2001:db8::/32",
            "2002::/16",  # 6to4: any IPv4 address in disguise
            "3fff::/20",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """A URL that a feed may fetch: canonical host (IPv6 without brackets), port, and path with query as given."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)  # signed: for no log

    @property
    def authority(self) -> str:
        """The Host header: the host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL put together again from the parts that were checked."""
        return f"{self.scheme}://{self.authority}{self.target}"


def place(url: str, image_hosts: Iterable[str]) -> Place | Failure:
    """Return where a URL leads, or BAD_URL or REFUSED_HOST. The failure's detail holds the host's name at most."""
    fault = _text_fault(url)
    if fault:
        return Failure(Reason.BAD_URL, fault)
    found = _take_apart(url)
    if isinstance(found, Failure) or host_allowed(found.host, found.port, image_hosts):
        return found
    return Failure(Reason.REFUSED_HOST, f"{found.host} port {found.port} is not in the feed's image_hosts")


def redirected(base: Place, location: str, image_hosts: Iterable[str]) -> Place | Failure:
    """Return where a redirect leads, its `Location` taken relative to the URL that gave it."""
    fault = _text_fault(location)  # first, as urljoin drops tabs and line ends
    if fault:
        return Failure(Reason.BAD_URL, f"redirect from {base.host}: {fault}")
    try:
        return place(urljoin(base.url, location), image_hosts)
    except ValueError:
        return Failure(Reason.BAD_URL, f"redirect from {base.host} to something that is no URL")


def address_refused(address: str) -> bool:
    """Say whether an IP address is anything but global unicast: then only a sandbox may connect to it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return True
    if ip.version == 4:
        return any(ip in network for network in _REFUSED_IPV4)
    return ip.scope_id is not None or ip not in _GLOBAL_IPV6 or any(ip in network for network in _REFUSED_IPV6)


def _text_fault(url: str) -> str:
    if len(url) > _LONGEST_URL:
        return f"the URL is longer than {_LONGEST_URL} characters"
    if not url.isprintable() or " " in url or "\\" in url:
        return "the URL holds a blank, a backslash or a control character"
    return ""


def _take_apart(url: str) -> Place | Failure:
    parts = _URL.fullmatch(url)
    if parts is None:
        return Failure(Reason.BAD_URL, "the URL does not start with http:// or https://")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    host = canonical_host(authority["host"]) if authority else None
    if authority is None or host is None:
        return Failure(Reason.BAD_URL, "what stands for the host is not a host name or a plain IP address alone")
    scheme = parts["scheme"].lower()
    port = int(authority["port"] or _DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65_535:
        return Failure(Reason.BAD_URL, "the URL's port is not between 1 and 65535")
    target = parts["target"]
    return Place(scheme, host, port, target if target.startswith("/") else "/" + target)
