"""Tests which URLs and addresses may be fetched, in tables of those that are allowed and those that are refused."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.addresses import (
    FetchTarget,
    by_turns,
    fetch_target,
    is_refused_address,
    is_same_site,
    redirect_target,
)
from shared.domain.failures import Failure, Reason


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16"),
        *("0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7"),  # noqa: S104
        *("203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
        *(
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:7f00:1::1",
            "2001::1",
            "2001:0:4136:e378::1",
        ),
        *("2001:db8::1", "2001:20::1", "3fff::1", "100::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
        *("fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1%eth0", "4000::1", "not an address", ""),
    ],
)
def test_an_address_that_is_not_global_unicast_is_refused(address: str) -> None:
    assert is_refused_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"),
        *("169.253.255.255", "169.255.0.0", "192.167.255.255", "223.255.255.255", "198.17.255.255", "168.63.129.17"),
        *("2606:4700::6810:84e5", "2a00:1450:4001::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2620:4f::1"),
        *("64:ff9b::808:808", "64:ff9b::5db8:d822"),
    ],
)
def test_a_global_unicast_address_is_allowed(address: str) -> None:
    assert not is_refused_address(address)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["::1", "::2", "1.1.1.1", "2.2.2.2"], ["::1", "1.1.1.1", "::2", "2.2.2.2"]),
        (["1.1.1.1", "2.2.2.2", "3.3.3.3", "::1"], ["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3"]),
        (["::1"], ["::1"]),
        (["1.1.1.1", "2.2.2.2"], ["1.1.1.1", "2.2.2.2"]),
    ],
)
def test_addresses_of_both_kinds_are_tried_by_turns(found: list[str], expected: list[str]) -> None:
    assert by_turns(found) == expected


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("https://a.example.com/", "https://a.example.com/x?y", True),
        ("http://a.example.com/", "https://a.example.com/", True),
        ("https://a.example.com/", "https://b.example.com/", False),
        ("https://a.example.com/", "https://a.example.com:8443/", False),
        ("http://a.example.com:8443/", "https://a.example.com:8443/", True),
        ("http://a.example.com:8443/", "https://a.example.com/", False),
    ],
)
def test_a_site_is_a_host_and_a_port(first: str, second: str, is_same: bool) -> None:
    first_target, second_target = [
        fetch_target(url, ["*.example.com", "*.example.com:8443"]) for url in (first, second)
    ]
    assert isinstance(first_target, FetchTarget)
    assert isinstance(second_target, FetchTarget)
    assert is_same_site(first_target, second_target) is is_same


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://photos.example.com/a.jpg", FetchTarget("https", "photos.example.com", 443, "/a.jpg")),
        ("HTTP://Photos.Example.com./a", FetchTarget("http", "photos.example.com", 80, "/a")),
        ("https://photos.example.com", FetchTarget("https", "photos.example.com", 443, "/")),
        ("https://photos.example.com?w=1", FetchTarget("https", "photos.example.com", 443, "/?w=1")),
        ("https://photos.example.com:443/a#top", FetchTarget("https", "photos.example.com", 443, "/a")),
        ("https://photos.example.com:/a", FetchTarget("https", "photos.example.com", 443, "/a")),
        (
            "https://photos.example.com/a//b/@c:d%2F?e=f@g://",
            FetchTarget("https", "photos.example.com", 443, "/a//b/@c:d%2F?e=f@g://"),
        ),
        ("https://photos.example.com/é.jpg", FetchTarget("https", "photos.example.com", 443, "/é.jpg")),
    ],
)
def test_an_allowed_url_is_parsed(url: str, expected: FetchTarget) -> None:
    assert fetch_target(url, ["photos.example.com"]) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b?c", "http://photos.example.com/b?c"),
        ("b", "http://photos.example.com/x/b"),
        ("../b", "http://photos.example.com/b"),
        ("?c", "http://photos.example.com/x/a?c"),
        ("https://photos.example.com/b", "https://photos.example.com/b"),
        ("//photos.example.com:443/b", "http://photos.example.com:443/b"),
    ],
)
def test_a_redirect_is_resolved_relative_to_the_url_that_sent_it(location: str, expected: str) -> None:
    target = redirect_target(FetchTarget("http", "photos.example.com", 80, "/x/a?b"), location, ["photos.example.com"])
    assert isinstance(target, FetchTarget)
    assert target.url == expected


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
def test_a_redirect_to_a_host_that_is_not_listed_is_refused(location: str, reason: Reason) -> None:
    target = redirect_target(FetchTarget("https", "photos.example.com", 443, "/"), location, ["photos.example.com"])
    assert isinstance(target, Failure)
    assert target.reason is reason


def test_the_repr_of_a_target_does_not_show_the_path() -> None:
    found = fetch_target("https://photos.example.com/secret?signature=secret", ["photos.example.com"])
    assert isinstance(found, FetchTarget)
    assert "secret" not in repr(found)


URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://", "//", ""]),
    st.sampled_from(
        ["", "photos.example.com", "PHOTOS.example.com.", "photos.example.com:443", "a@", "[::1]", "evil.org"]
    ),
    st.sampled_from(["", "/", "?", "#", ":", "@", "\\", "%2e", "/%", "/../", "//"]),
    st.text(max_size=20),
)


@given(URLS, URLS)
def test_httpx_sees_the_host_and_port_that_were_checked(url: str, location: str) -> None:
    hosts = ["photos.example.com"]
    first = fetch_target(url, hosts)
    second = redirect_target(FetchTarget("https", "photos.example.com", 443, "/a"), location, hosts)
    for found in (first, second):
        if isinstance(found, FetchTarget):
            read = httpx.URL(found.url)
            port = read.port or {"http": 80, "https": 443}[read.scheme]
            assert (read.scheme, read.raw_host.decode(), port) == (found.scheme, "photos.example.com", found.port)
            assert not read.userinfo
