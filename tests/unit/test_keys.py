"""Under which keys are objects stored? Parts are escaped by the contract, and no two photos share a key."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.domain import keys

SAFE = re.compile(r"(?:[A-Za-z0-9._-]|~[0-9A-F]{2})*")
CUT = re.compile(r".{180}~[0-9a-f]{16}")
TEXTS = st.text(min_size=1) | st.text(alphabet="aA.~/ %2E-_é\x00", min_size=1, max_size=12) | st.text(min_size=60)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("X5678", "X5678"),
        ("a.b_c-D9", "a.b_c-D9"),
        ("a b", "a~20b"),
        ("a/b", "a~2Fb"),
        ("a~b", "a~7Eb"),
        ("a%2Fb", "a~252Fb"),
        ("a+b", "a~2Bb"),
        ("a?b#c&d=e", "a~3Fb~23c~26d~3De"),
        ("é", "~C3~A9"),
        ("e\u0301", "e~CC~81"),
        ("家", "~E5~AE~B6"),
        ("🏠", "~F0~9F~8F~A0"),
        ("\x00\n", "~00~0A"),
        ("\\", "~5C"),
        (".", "~2E"),
        ("..", "~2E~2E"),
        ("...", "~2E~2E~2E"),
        ("..a", "..a"),
        (".a", ".a"),
        ("a.", "a."),
        ("~2E", "~7E2E"),
        (" .", "~20."),
        ("x" * 200, "x" * 200),
        ("é" * 33 + "xx", "~C3~A9" * 33 + "xx"),
    ],
)
def test_unusual_bytes_are_escaped(text: str, written: str) -> None:
    assert keys.part(text) == written


@pytest.mark.parametrize("text", ["x" * 201, "é" * 34, "." * 67, "/" * 500, "x" * 199 + "/", "a" * 10_000])
def test_a_part_over_200_bytes_is_cut_and_ends_in_its_hash(text: str) -> None:
    assert CUT.fullmatch(keys.part(text))
    assert len(keys.part(text)) == 197


def test_long_parts_that_begin_alike_differ() -> None:
    assert keys.part("x" * 300) != keys.part("x" * 301)


def test_a_versions_prefix_begins_with_its_photos_and_that_with_its_listings() -> None:
    sha256 = "0123456789abcdef" * 4
    assert keys.listing_prefix("f", "X 1") == "f/X~201/"
    assert keys.photo_prefix("f", "X 1", "a/b") == "f/X~201/a~2Fb/"
    assert keys.folder("f", "X 1", "a/b", sha256) == "f/X~201/a~2Fb/0123456789abcdef/"


@given(TEXTS)
@example("." * 300)
def test_a_part_needs_no_url_escaping_and_is_never_dots_only(text: str) -> None:
    written = keys.part(text)
    assert len(written) <= 200
    assert SAFE.fullmatch(written) or CUT.fullmatch(written)
    assert written.strip(".")


@given(TEXTS, TEXTS)
@example("a/b", "a~2Fb")
@example(".", "~2E")
@example("A", "a")
@example("é", "e\u0301")
@example("x" * 201, "x" * 202)
def test_two_texts_never_have_the_same_part(first: str, second: str) -> None:
    assume(first != second)
    assert keys.part(first) != keys.part(second)


@given(TEXTS)
def test_a_part_that_was_not_cut_can_be_read_back(text: str) -> None:
    written = keys.part(text)
    assume(not CUT.fullmatch(written))
    read = re.sub(rb"~([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    assert read.decode() == text


IDENTITIES = st.tuples(*[st.text(alphabet="a/. ~", min_size=1, max_size=4)] * 3)


@given(IDENTITIES, IDENTITIES)
def test_no_photos_prefix_begins_with_another_photos(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    assume(first != second)
    assert not keys.photo_prefix(*first).startswith(keys.photo_prefix(*second))


@given(IDENTITIES, IDENTITIES)
def test_no_listings_prefix_begins_with_another_listings(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assume(first[:2] != second[:2])
    assert not keys.listing_prefix(*first[:2]).startswith(keys.listing_prefix(*second[:2]))


@given(TEXTS, TEXTS)
@example("f", "..")
@example("f~2E", "a/b")
@example("f", "x" * 179 + "~" + "0123456789abcdef")
def test_a_keys_listing_can_be_read_back_unless_a_part_was_cut(feed: str, listing_key: str) -> None:
    key = keys.folder(feed, listing_key, "p", "5a" * 32) + "full.webp"
    is_long = max(len(keys.part(feed)), len(keys.part(listing_key))) > 180
    assert keys.listing_id_of(key) == (None if is_long else (feed, listing_key))


@pytest.mark.parametrize("listing", ["", "a", "a/", "a b/c", "f/~e9", "f/~FF", "f/..", "f/a~2fb", "/", "a/b/c"])
def test_a_key_with_wrong_parts_has_no_listing(listing: str) -> None:
    assert keys.listing_id_of(f"{listing}/p/5a5a5a5a5a5a5a5a/full.webp") is None


@pytest.mark.parametrize("rest", ["", "/p", "/p/full.webp", "/p/5a5a/full.webp", "/p/5a5a5a5a5a5a5a5a", "/26/11/x"])
def test_a_key_of_another_shape_has_no_listing(rest: str) -> None:
    assert keys.listing_id_of(f"f/X1{rest}") is None
