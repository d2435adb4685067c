"""Why has a listing these photos? The verdict and the timeline that the desk shows to an operator."""

from dataclasses import replace
from datetime import datetime

import pytest

from ops.explain import QueuePosition
from services.desk import decide, formatting
from services.desk.decide import Tone
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Status
from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason, SetAside
from shared.origin_budget.use import SuspendedBy, Suspension
from shared.stores.attempts import Attempt
from shared.stores.removals import Removal
from tests.builders import FEED, KEY, NOW, a_downloaded_photo, a_listing, a_photo, after, hidden

GONE = Failure(Reason.GONE, "photos.example.com answered 404")
NO_URL = SetAside(media_key="k", reason="no URL")
DOUBTFUL = replace(hidden(reason=RemovalReason.OPT_OUT), remove_at=UNTIL_DECIDED)
"""Hidden by a word that no rule knows."""
OUTDATED = a_downloaded_photo("a", announced_at=after(9), failure=Failure(Reason.TIMEOUT))


@pytest.mark.parametrize(
    ("listing", "tone", "title", "why"),
    [
        (a_listing(a_downloaded_photo("a")), Tone.GOOD, "All 1 photo are here", ""),
        (a_listing(), Tone.OFF, "no photos that may be shown", ""),
        (a_listing(set_aside=(NO_URL, replace(NO_URL, media_key="l"))), Tone.OFF, "no photos", "2 rows"),
        (a_listing(a_photo("a"), a_photo("b")), Tone.WAITS, "None of its 2 photos", "2 photos waiting"),
        (a_listing(a_photo("a", failure=GONE)), Tone.BAD, "None of its 1 photo", "1 photo: gone; the origin says"),
        (
            a_listing(a_downloaded_photo("a"), a_photo("b", failure=GONE)),
            Tone.BAD,
            "1 of its 2 photos is missing",
            "gone",
        ),
        (a_listing(OUTDATED), Tone.WAITS, "1 in an older version", "timeout"),
        (a_listing(a_downloaded_photo("a"), hidden=hidden()), Tone.OFF, "does not list it any more", "hidden"),
        (a_listing(hidden=hidden(reason=RemovalReason.OPT_OUT)), Tone.OFF, "does not want", "Nothing of it is held"),
        (a_listing(a_downloaded_photo("a"), hidden=hidden(remove_at=-1)), Tone.OFF, "Not shown", "being removed"),
        (a_listing(a_downloaded_photo("a"), hidden=DOUBTFUL), Tone.OFF, "does not want", "kept until the MLS says"),
        (a_listing(a_photo("a", used_url_key=a_photo("a").url_keys[0])), Tone.WAITS, "None", "works once"),
        (a_listing(a_photo("a", not_before=after(7_200))), Tone.WAITS, "None", "due in 2 h"),
        (a_listing(lifecycle.release(a_photo("a"), NOW)), Tone.WAITS, "None", "1 in work now"),
    ],
)  # fmt: skip
def test_the_verdict_says_how_it_is_and_why(listing: Listing, tone: Tone, title: str, why: str) -> None:
    found = decide.verdict(listing, [], None, NOW)
    assert (found.tone, title in found.title, why in " ".join(found.why)) == (tone, True, True), found


def test_the_verdict_says_what_of_the_feed_is_in_the_way_and_when_its_turn_is() -> None:
    listing = a_listing(a_photo("a"))
    found = decide.verdict(listing, ["the feed is silent"], QueuePosition(12, after(240)), NOW)
    assert found.why[-2:] == ("12 photos ahead of it in the queue; its turn is about in 4 min.", "the feed is silent")


def test_the_timeline_is_in_order_with_what_is_to_come_first() -> None:
    failed = a_photo("a", failure=GONE, attempts=1, not_before=after(60), forced_at=after(-5))
    listing = a_listing(failed, modified_at=after(-90), media_changed_at=after(-80), seen_at=after(-70))
    attempt = Attempt(
        image_id=failed.id, feed=FEED, listing_key=KEY, at=after(-30), result="gone", detail="a", milliseconds=9
    )
    removal = Removal(
        id="r",
        feed=FEED,
        listing_key=KEY,
        image_id="i",
        reason="opt-out",
        hidden_at=NOW,
        removed_at=after(-10),
        objects=3,
    )
    found = decide.timeline(listing, [attempt, replace(attempt, at=after(-20), result="downloaded")], [removal])
    assert [entry.what for entry in found] == [
        "attempt 2 is due", "asked for again", "removed", "downloaded", "gone", "recorded",
        "the MLS changed its photos", "the MLS changed it: Active",
    ]  # fmt: skip


def test_a_hidden_listings_timeline_says_when_its_copies_go() -> None:
    found = decide.timeline(a_listing(a_downloaded_photo("a"), hidden=hidden(since=-1, remove_at=50)), [], [])
    assert [entry.what for entry in found][:1] == ["copies are to be removed"]
    assert "hidden" in [entry.what for entry in found]


@pytest.mark.parametrize(
    ("status", "tone"),
    [
        (Status.DOWNLOADED, Tone.GOOD),
        (Status.FAILED, Tone.BAD),
        (Status.PENDING, Tone.WAITS),
        (Status.OUTDATED, Tone.WAITS),
    ],
)
def test_each_status_has_its_colour(status: Status, tone: Tone) -> None:
    assert decide.tone_of(status) is tone


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://mls.example.com/a/b.jpg?sig=1 there", "see https://mls.example.com/… there"),
        ('"https:\\/\\/mls.example.com\\/a.jpg"', '"https://mls.example.com/…"'),
        ("HTTP://u:p@mls.example.com:8/a", "HTTP://mls.example.com:8/…"),
        ("https://a.example.com/x,https://b.example.com/y", "https://a.example.com/…"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_of_a_url_only_the_host_is_left(text: str, shown: str) -> None:
    assert formatting.redacted(text) == shown


@pytest.mark.parametrize(
    ("url", "host"), [("https://u:p@mls.example.com:8/a?b", "mls.example.com"), ("http://[", ""), ("x", "")]
)
def test_a_url_is_shown_as_its_host(url: str, host: str) -> None:
    assert formatting.host_of(url) == host


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (-119, "119 s ago"), (-120, "2 min ago"), (7_200, "in 2 h"), (200_000, "in 2 d")],
)
def test_a_time_is_shown_as_its_distance_from_now(seconds: float, words: str) -> None:
    assert formatting.distance(after(seconds), NOW) == words


@pytest.mark.parametrize(
    ("by", "until", "text"),
    [
        (SuspendedBy.OPERATOR, after(60), "paused by an operator until 2026-11-23 09:01:00 UTC: why"),
        (SuspendedBy.ORIGIN, after(60), "throttled by the origin until 2026-11-23 09:01:00 UTC: why"),
        (SuspendedBy.BREAKER, None, "its breaker is open, and it is only probed: why"),
    ],
)
def test_a_suspension_is_named_as_a_pause_a_throttling_or_an_open_breaker(
    by: SuspendedBy, until: datetime | None, text: str
) -> None:
    assert decide.suspension_text(Suspension(by=by, since=None, until=until, reason="why")) == text


def test_the_timeline_has_no_removal_of_a_listing_that_waits_for_a_word_of_the_mls() -> None:
    assert not [
        entry
        for entry in decide.timeline(a_listing(a_downloaded_photo("a"), hidden=DOUBTFUL), [], [])
        if "removed" in entry.what
    ]
