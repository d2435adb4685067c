"""Tests which photos each subscription may take while others wait for a grant or are claimed."""

import pytest

from services.downloader.in_flight import InFlight


def test_a_photo_that_waits_is_available_only_to_a_viewed_takeover_and_to_its_own_caller() -> None:
    in_flight = InFlight()
    with in_flight.waiting({"a"}, is_viewed=False):
        assert in_flight.unavailable(is_viewed=False) == {"a"}
        assert in_flight.unavailable(is_viewed=False, except_waiting={"a"}) == set()
        assert in_flight.unavailable(is_viewed=True) == set()
    with in_flight.waiting({"a"}, is_viewed=True):
        assert in_flight.unavailable(is_viewed=True) == {"a"}
        assert in_flight.unavailable(is_viewed=True, except_waiting={"a"}) == set()
        assert in_flight.unavailable(is_viewed=False, except_waiting={"a"}) == {"a"}
    assert in_flight.image_ids() == set()


def test_a_claimed_photo_is_available_to_nobody_until_it_is_released() -> None:
    in_flight = InFlight()
    claims = in_flight.claim({"a", "b"})
    for is_viewed in (False, True):
        assert in_flight.unavailable(is_viewed=is_viewed, except_waiting={"a", "b"}) == {"a", "b"}
    claims.release({"a"})
    assert (in_flight.is_claimed("a"), in_flight.image_ids()) == (False, {"b"})


def test_the_end_of_the_block_releases_claims_also_after_an_error() -> None:
    in_flight = InFlight()
    with pytest.raises(ValueError, match="settling"), in_flight.claim({"a"}), in_flight.waiting({"b"}, is_viewed=False):
        raise ValueError("settling failed")
    assert in_flight.image_ids() == set()


def test_a_photo_that_was_released_and_claimed_anew_stays_claimed_at_the_end_of_the_first_block() -> None:
    in_flight = InFlight()
    with in_flight.claim({"a", "b"}) as claims:
        claims.release({"a"})
        in_flight.claim({"a"})
    assert in_flight.image_ids() == {"a"}
