"""Which hosts, ports, URLs and addresses may be fetched? Tables of what is let through and what is not."""

import pytest

from services.downloader.addresses import Place, address_refused, place, redirected
from shared.domain.failures import Failure, Reason
from shared.domain.hosts import canonical_host, host_allowed, pattern_fault


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("photos.example.com", "photos.example.com", 443),
        ("photos.example.com", "photos.example.com", 80),
        ("photos.example.com", "PHOTOS.Example.COM", 443),
        ("photos.example.com", "photos.example.com.", 443),
        ("Photos.Example.com.", "photos.example.com", 443),
        ("photos.example.com:8443", "photos.example.com", 8443),
        ("*.example.com", "a.example.com", 443),
        ("*.example.com", "a.b.c.example.com", 443),
        ("*.example.com:9000", "a.example.com", 9000),
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("[::1]:9000", "[0:0:0:0:0:0:0:1]", 9000),
        ("[2001:DB8::1]", "2001:db8::1", 443),
        ("localhost:9000", "localhost", 9000),
        ("bücher.example", "xn--bcher-kva.example", 443),
        ("xn--bcher-kva.example", "BÜCHER.example", 443),
        ("under_score.example.com", "under_score.example.com", 443),
    ],
)
def test_a_listed_host_is_allowed_however_it_is_spelled(pattern: str, host: str, port: int) -> None:
    assert pattern_fault(pattern) is None
    assert host_allowed(host, port, ["other.example.org", pattern])


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("photos.example.com", "photos.example.com", 8080),
        ("photos.example.com", "a.photos.example.com", 443),
        ("photos.example.com", "photos.example.com.evil.org", 443),
        ("photos.example.com", "evilphotos.example.com", 443),
        ("photos.example.com", "photos-example.com", 443),
        ("photos.example.com:8443", "photos.example.com", 443),
        ("*.example.com", "example.com", 443),
        ("*.example.com", "evilexample.com", 443),
        ("*.example.com", ".example.com", 443),
        ("*.example.com", "a..example.com", 443),
        ("*.example.com", "a.example.com", 9000),
        ("127.0.0.1:9000", "127.0.0.1", 9001),
        ("127.0.0.1:9000", "127.1", 9000),
        ("[::1]:9000", "[::1%lo]", 9000),
        ("photos.example.com", "", 443),
        ("https://photos.example.com", "photos.example.com", 443),
    ],
)
def test_any_other_host_or_port_is_not_allowed(pattern: str, host: str, port: int) -> None:
    assert not host_allowed(host, port, [pattern])


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("", "not a host name"),
        ("*", "not a host name"),
        ("*.", "not a host name"),
        ("*.com", "too wide"),
        ("*.127.0.0.1", "too wide"),
        ("*.*.example.com", "not a host name"),
        ("a*.example.com", "not a host name"),
        ("https://photos.example.com", "more than a host"),
        ("photos.example.com/path", "more than a host"),
        ("user@photos.example.com", "more than a host"),
        ("photos.example.com:", "not a host name"),
        ("photos.example.com:https", "not a host name"),
        ("photos.example.com:0", "port"),
        ("photos.example.com:65536", "port"),
        ("photos example.com", "not a host name"),
        ("127.1", "not a host name"),
        ("::1", "not a host name"),
        ("[::1", "not a host name"),
        ("-photos.example.com", "not a host name"),
    ],
)
def test_a_wrong_entry_of_image_hosts_is_told_in_words(pattern: str, fault: str) -> None:
    assert fault in (pattern_fault(pattern) or "")


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "127.0.0.256"),
        *("1.2.3.4.5", "a.0x1", "[::1]]", "[fe80::1%25eth0]", "[127.0.0.1]", "[]", "a%2eexample.com", "a,b.com"),
        *("a..example.com", ".", "-a.example.com", "a-.example.com", "ⓔxample.com", "example。com", "faß.de"),
        *(
            "exam\u200bple.com",
            "exam\u00adple.com",
            "ﬁle.example.com",
            "①②⑦.⓪.⓪.①",
            "a" * 64 + ".com",
            "a." * 127 + "com",
        ),
        *("exa mple.com", "exa\tmple.com", "exam\x00ple.com", "a/b", "a@b", "\ud800.com"),
    ],
)
def test_what_two_readers_could_take_for_different_hosts_is_no_host(host: str) -> None:
    assert canonical_host(host) is None


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16"),
        *("0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7"),  # noqa: S104
        *("203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::1", "2001::1", "2001:0:4136:e378::1"),
        *("2001:db8::1", "2001:20::1", "3fff::1", "100::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
        *("fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1%eth0", "4000::1", "not an address", ""),
    ],
)
def test_an_address_that_is_not_global_unicast_is_refused(address: str) -> None:
    assert address_refused(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"),
        *("169.253.255.255", "169.255.0.0", "192.167.255.255", "223.255.255.255", "198.17.255.255", "168.63.129.17"),
        *("2606:4700::6810:84e5", "2a00:1450:4001::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2620:4f::1"),
    ],
)
def test_a_global_unicast_address_is_let_through(address: str) -> None:
    assert not address_refused(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://photos.example.com/a.jpg", Place("https", "photos.example.com", 443, "/a.jpg")),
        ("HTTP://Photos.Example.com./a", Place("http", "photos.example.com", 80, "/a")),
        ("https://photos.example.com", Place("https", "photos.example.com", 443, "/")),
        ("https://photos.example.com?w=1", Place("https", "photos.example.com", 443, "/?w=1")),
        ("https://photos.example.com:443/a#top", Place("https", "photos.example.com", 443, "/a")),
        ("https://photos.example.com:/a", Place("https", "photos.example.com", 443, "/a")),
        (
            "https://photos.example.com/a//b/@c:d%2F?e=f@g://",
            Place("https", "photos.example.com", 443, "/a//b/@c:d%2F?e=f@g://"),
        ),
        ("https://photos.example.com/é.jpg", Place("https", "photos.example.com", 443, "/é.jpg")),
    ],
)
def test_a_good_url_is_taken_apart(url: str, expected: Place) -> None:
    assert place(url, ["photos.example.com"]) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b?c", "http://photos.example.com:80/b?c"),
        ("b", "http://photos.example.com:80/x/b"),
        ("../b", "http://photos.example.com:80/b"),
        ("?c", "http://photos.example.com:80/x/a?c"),
        ("https://photos.example.com/b", "https://photos.example.com:443/b"),
        ("//photos.example.com:443/b", "http://photos.example.com:443/b"),
    ],
)
def test_a_redirect_is_taken_relative_to_where_it_came_from(location: str, expected: str) -> None:
    led_to = redirected(Place("http", "photos.example.com", 80, "/x/a?b"), location, ["photos.example.com"])
    assert isinstance(led_to, Place)
    assert led_to.url == expected


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("//evil.org/", Reason.REFUSED_HOST),
        ("https://photos.example.com:8443/", Reason.REFUSED_HOST),
        ("https://photos.example.com@evil.org/", Reason.BAD_URL),
        ("/\\evil.org/", Reason.BAD_URL),
        ("ht\ntps://evil.org/", Reason.BAD_URL),
        ("file:///etc/passwd", Reason.BAD_URL),
        ("//[::1", Reason.BAD_URL),
        ("//[v1.x]/", Reason.BAD_URL),
        ("http://[::ffff:127.0.0.1]/", Reason.REFUSED_HOST),
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str, reason: Reason) -> None:
    led_to = redirected(Place("https", "photos.example.com", 443, "/"), location, ["photos.example.com"])
    assert isinstance(led_to, Failure)
    assert led_to.reason is reason


def test_a_place_shows_no_path_where_it_could_be_logged() -> None:
    found = place("https://photos.example.com/secret?signature=secret", ["photos.example.com"])
    assert isinstance(found, Place)
    assert "secret" not in repr(found)
