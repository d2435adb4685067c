"""Which entries may image_hosts have, and which hosts and ports do they allow?"""

import pytest

from shared.domain.hosts import canonical_host, is_address, is_allowed_host, pattern_error


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
    assert pattern_error(pattern) is None
    assert is_allowed_host(host, port, ["other.example.org", pattern])


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
    assert not is_allowed_host(host, port, [pattern])


@pytest.mark.parametrize(
    ("pattern", "error"),
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
def test_a_wrong_entry_of_image_hosts_is_explained(pattern: str, error: str) -> None:
    assert error in (pattern_error(pattern) or "")


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
def test_a_text_that_programs_read_as_different_hosts_is_no_host(host: str) -> None:
    assert canonical_host(host) is None


@pytest.mark.parametrize(("host", "expected"), [("8.8.8.8", True), ("2606:4700::1", True), ("8.example.com", False)])
def test_addresses_are_distinguished_from_names(host: str, expected: bool) -> None:
    assert is_address(host) is expected
