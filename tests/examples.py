"""Rich examples of what is stored: listings, ledgers and records in every state. All times, ids and keys are fixed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position
from shared.domain.image import REBUILD_WANTED, Claim, image_id, url_key, url_keys
from shared.domain.listing import UNTIL_DECIDED, Hidden, Listing, RemovalReason, SetAside
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.origin_budget import codec, pause
from shared.origin_budget.accounting import EndedDownload
from shared.origin_budget.advance import advanced
from shared.origin_budget.grants import Grant
from shared.origin_budget.ledger import Breaker, Ledger, Pause
from shared.origin_budget.moments import Moment, to_moment
from shared.stores.attempts import Attempt
from shared.stores.audits import Audit
from shared.stores.handled_dead_letters import RecordPlace
from shared.stores.removal_holds import Decision, RemovalHold
from shared.stores.removals import Removal
from shared.stores.sweeps import SweepCounts, SweepRequest, SweepState
from tests.budgets import FeedBudget
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_downloaded_photo, a_feed, a_listing, a_photo, after

IMAGE = image_id(FEED, KEY, "a")
DATE = NOW.replace(microsecond=123000)
"""MongoDB keeps milliseconds."""
MLS_TIME = NOW.replace(microsecond=123456)
"""Times of the MLS are kept as text, with all digits."""


def shown() -> Listing:
    """Return a displayed listing with a photo in each state, and each kind of discard."""
    many_urls = url_keys(["https://photos.example.com/large.jpg", "https://photos.example.com/small.jpg"])
    old = a_copy("outdated", mls_changed_at=after(-60), etag=None, last_modified="Mon, 23 Nov 2026 08:00:00 GMT")
    photos = [
        a_photo("pending", url_keys=many_urls, caption="The  kitchen\nin the morning", cause="event-1"),
        a_photo("viewed", priority=Priority.VIEWED, announced_at=MLS_TIME, has_own_timestamp=True),
        lifecycle.release(a_photo("released", priority=Priority.SEARCHED), DATE),
        a_photo("claimed", priority=Priority.POPULAR, released_at=NOW, not_before=after(120),
                claim=Claim(worker="downloader-1", until=after(90))),
        a_photo("failed", attempts=3, attempted_at=DATE, failure=Failure(Reason.FORBIDDEN, "HTTP 403"),
                not_before=after(240)),
        a_photo("spent", attempts=1, attempted_at=NOW, failure=Failure(Reason.TIMEOUT),
                used_url_key=url_key("https://photos.example.com/spent.jpg")),
        a_photo("undated", announced_at=None),
        a_downloaded_photo("downloaded", attempts=1, attempted_at=NOW),
        a_downloaded_photo("outdated", copy=old, announced_at=after(60)),
        a_downloaded_photo("forced", forced_at=DATE),
        a_downloaded_photo("remade", copy=a_copy("remade", rendering=REBUILD_WANTED, etag=None), forced_at=NOW),
    ]  # fmt: skip
    gone, version = a_copy("gone"), a_copy("downloaded", sha256="6b" * 32)
    discards = (
        a_discard("gone", copy=gone, whole=True, reason=RemovalReason.PHOTO_WITHDRAWN, remove_at=after(5),
                  off_market_at=MLS_TIME, unshown_at=after(-1)),
        a_discard("downloaded", copy=version, remove_at=after(86_400)),
        a_discard("forced-out", whole=True, removing=True, reason=RemovalReason.FORCED, since=DATE),
    )  # fmt: skip
    return a_listing(
        *photos, revision=7, discards=discards, removed_image_ids=(image_id(FEED, KEY, "forced-out"),), city="Montréal",
        set_aside=(SetAside(media_key="s1", reason="its URL is no URL"), SetAside(media_key="", reason="no MediaKey")),
        modified_at=MLS_TIME, media_changed_at=after(-1), position=Position(MLS_TIME, 3, 1_234), seen_at=DATE,
    )  # fmt: skip


def listings() -> Mapping[str, Listing]:
    """Return an example of a listing in every state, by a name of the state."""
    held, missing = a_downloaded_photo("held"), a_photo("missing")

    def hidden(reason: RemovalReason, **facts: Any) -> Hidden:
        return Hidden(reason=reason, since=DATE, remove_at=after(5), **facts)

    inactive = hidden(RemovalReason.LISTING_INACTIVE, off_market_at=MLS_TIME)
    undecided = hidden(RemovalReason.OPT_OUT, held_until=UNTIL_DECIDED)
    never_shown = hidden(RemovalReason.OPT_OUT, was_displayed=False)
    return {
        "shown": shown(),
        "complete": a_listing(replace(held, copy=a_copy("held", checked_at=DATE)), key="complete", revision=2),
        "hidden": a_listing(held, missing, key="hidden", hidden=inactive, standard_status="Closed"),
        "held": a_listing(held, key="held", hidden=undecided),
        "never-shown": a_listing(missing, key="never-shown", hidden=never_shown),
        "blocked": a_listing(key="blocked", hidden=hidden(RemovalReason.FORCED), is_removed_by_operator=True),
        "bare": Listing(feed="other feed", key="a/b\nc é"),
    }


LEDGER_FEED = a_feed(
    concurrency=10, batch_size=2, batch_pause_seconds=0.5, requests_per_second=4.0, requests_per_hour=100,
    requests_per_day=1_000, bytes_per_hour=5_000_000, viewed_reserve=0.2, max_file_bytes=400_000,
)  # fmt: skip
"""Every limit is set."""


def _a_budget() -> FeedBudget:
    return FeedBudget(LEDGER_FEED, holder="w-l-")


def _end(
    budget: FeedBudget, grant: Grant, seconds: float, failure: Failure | None = None, received_bytes: int = 0
) -> None:
    """End all downloads of a grant alike at `seconds` after NOW. The grant must be the budget's latest one.

    Each download is of an image of its own.
    """
    ended = [
        EndedDownload(request.slot, f"image-{budget.demands}-{number}", request.at, failure, received_bytes)
        for number, request in enumerate(grant.requests)
    ]
    budget.account(ended, seconds, jitter=0.5)


def ledgers() -> Mapping[str, Ledger]:
    """Return an example of a ledger in every state, by a name of the state. They are made to be read 60 s after NOW."""
    busy = _a_budget()
    for seconds in (0.0, 30.0, 59.7):
        _end(busy, busy.take(2, seconds, Priority.ROUTINE), seconds + 0.2, received_bytes=123_456)
    busy.take(2, 59.9, Priority.VIEWED)
    throttled, named = _a_budget(), _a_budget()
    _end(throttled, throttled.take(2, 59, Priority.ROUTINE), 59.5, Failure(Reason.THROTTLED))
    _end(named, named.take(1, 59, Priority.ROUTINE), 59.5, Failure(Reason.THROTTLED, "HTTP 429", wait_seconds=90.0))
    failing, unwell = _a_budget(), _a_budget()
    _end(failing, failing.take(1, 59, Priority.VIEWED), 59.5, Failure(Reason.FORBIDDEN))
    for turn in range(4):
        _end(unwell, unwell.take(2, 50 + 2 * turn, Priority.VIEWED), 51 + 2 * turn, Failure(Reason.TIMEOUT))
    is_open = unwell.ledger
    unwell.take(1, 60, Priority.ROUTINE)
    paused = pause.paused(codec.to_document(busy.ledger), "asked by the MLS", NOW, None)
    paused_for = pause.paused({}, "too fast", NOW, timedelta(hours=1))
    return {
        "never used": Ledger(),
        "idle": advanced(busy.ledger, LEDGER_FEED, after(600)),
        "busy": busy.ledger,
        "kept for a viewed image": replace(busy.ledger, viewed_slot_until=to_moment(after(60.5))),
        "throttled": throttled.ledger,
        "silent as the origin asked": named.ledger,
        "failing": failing.ledger,
        "breaker open": is_open,
        "breaker probing": unwell.ledger,
        "halted": codec.from_document(paused),
        "halted for an hour": codec.from_document(paused_for),
        "thawed": codec.from_document(pause.resumed(paused)),
        "all fields": replace(
            busy.ledger, viewed_slot_until=Moment(1), throttled_until=Moment(2), throttlings=3, failed_images=("a",),
            failed_reason=Reason.GONE, reason="r", breaker=Breaker(Reason.UNREACHABLE, 2.0, Moment(5), "slot"),
            pause=Pause(Moment(6), None, "h"),
        ),
    }  # fmt: skip


THROUGHPUT = Throughput(at=DATE, finished_per_second=1.5)
ATTEMPTS = [
    Attempt(image_id=IMAGE, feed=FEED, listing_key=KEY, at=DATE, result="downloaded", detail="", milliseconds=250),
    Attempt(image_id=IMAGE, feed=FEED, listing_key=KEY, at=after(-1), result="forbidden", detail="HTTP 403",
            milliseconds=0),
]  # fmt: skip
REMOVALS = [
    Removal(
        id="removal-1", feed=FEED, listing_key=KEY, image_id=IMAGE, reason="photo-withdrawn", hidden_at=DATE,
        removed_at=after(5), objects=4,
    ),
    Removal(
        id="removal-2", feed=FEED, listing_key=KEY, image_id=IMAGE, reason="listing-inactive", hidden_at=NOW,
        removed_at=after(6), objects=3, mls_status="Closed", off_market_at=after(-60), unshown_at=after(-1),
        remained=("proptx-idx/X1/a/5a/full.webp",),
    ),
]  # fmt: skip
MARKED = {"requeued": RecordPlace(0, 12, DATE), "dropped": RecordPlace(1, 0, NOW)}
SWEEPS = [
    SweepState(feed="never-swept"),
    SweepState(
        feed=FEED, revision=4, answered_request_at=after(-9), last_finished_start=after(-8), finished_at=after(-7),
        followed_at=after(-6), published_until={"ModificationTimestamp": DATE, "PhotosChangeTimestamp": NOW},
        counts=SweepCounts(compared=1, asked_for=2, missing=3, remaining=4, published=5, gone=6),
        error="HTTP 500", failures=2, try_again_at=after(30), compare_again_at=after(3_600),
    ),
]  # fmt: skip
SWEEP_REQUEST = SweepRequest(at=DATE, dry_run=True)
AUDITS = [
    Audit(started_at=DATE, feed=FEED, bucket="public", after="X1", listings=10, objects=40, drift={"missing": 1}),
    Audit(started_at=NOW, finished_at=after(60), drift={"orphan": 2, "wrong-size": 0}),
]
REMOVAL_HOLDS = [
    RemovalHold(feed=FEED, reason=RemovalReason.LISTING_INACTIVE, at=DATE, since=after(-60), hidden=50, displayed=100),
    RemovalHold(
        feed=FEED, reason=RemovalReason.OPT_OUT, at=NOW, since=after(-60), hidden=5, displayed=10, by_sweep=True,
        decision=Decision.DISCARD, decided_at=DATE,
    ),
]  # fmt: skip
