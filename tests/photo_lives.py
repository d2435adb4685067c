"""Runs each transition of a photo on example photos, for the test that compares docs/photo-life.md with the code."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any

from shared.domain import announcement, lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Photo, url_key
from shared.domain.lifecycle import ListingFacts
from shared.domain.listing import Discard, Listing, RemovalReason
from shared.domain.media import AnnouncedPhoto
from shared.domain.priority import Priority
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_feed, a_listing, a_photo, a_record, a_row, after, hidden

START = "[*]"
"""The state before a photo is announced, and after it is withdrawn."""
RULES = a_feed(single_use_urls=True, popular_areas=("Guelph",), photo_categories=("Photo", "Floor Plan"))
CLAIM = Claim(worker="w", until=after(80))
OLD, NEW = a_copy(sha256="aa" * 32, checked_at=after(-90), downloaded_at=after(-90)), a_copy(sha256="bb" * 32)
URL, OTHER_URL = "https://photos.example.com/a.jpg", "https://photos.example.com/signed-anew.jpg"

PhotoRun = tuple[Photo | None, Photo]
"""A photo before and after a transition; None before it is announced."""
ListingRun = tuple[Listing, Listing]


def status(photo: Photo | None) -> str:
    return START if photo is None else photo.status.value


def work(photo: Photo | None, now: datetime = NOW) -> str:
    if photo is None:
        return START
    if photo.is_claimed(now):
        return "claimed"
    if photo.due_at is None:
        return "idle"
    if photo.due_at <= now:
        return "due"
    return "in_flight" if photo.released_at is not None else "waiting"


def visibility(listing: Listing) -> str:
    if listing.hidden is None:
        return "displayed"
    return "hidden" if listing.hidden.held_until is None else "held"


def removals(listing: Listing) -> dict[str, str]:
    """Return the state of each object that the listing's discards name, by the object's key."""
    return {
        key: "removing" if discard.removing else "due" if discard.remove_at <= NOW else "kept"
        for discard in listing.discards
        for key in (*discard.public_keys, *discard.original_keys)
    }


def photos() -> Iterator[Photo]:
    """Yield example photos of every status, in every state of the work on them, with fresh and with used URLs."""
    stages: tuple[tuple[str, dict[str, Any]], ...] = (
        ("due", {"not_before": after(-9)}),
        ("due", {"not_before": after(-9), "released_at": after(-99), "claim": Claim(worker="w", until=after(-9))}),
        ("idle", {"not_before": after(-9)}),
        ("waiting", {"not_before": after(60)}),
        ("in_flight", {"not_before": after(60), "released_at": after(-60)}),
        ("claimed", {"not_before": CLAIM.until, "released_at": after(-60), "claim": CLAIM}),
    )
    for (copy, announced_at), failure, (stage, times), forced_at, is_used in product(
        ((None, NOW), (OLD, NOW), (OLD, after(10))),
        (None, Failure(Reason.TIMEOUT)),
        stages,
        (None, after(-60)),
        (False, True),
    ):
        photo = a_photo(
            copy=copy,
            announced_at=announced_at,
            failure=failure,
            attempts=1 if failure else 0,
            attempted_at=after(-90) if failure or copy else None,
            forced_at=forced_at,
            used_url_key=url_key(URL) if is_used else None,
            **times,
        )
        if work(photo) == stage:
            yield photo


def _facts(seconds: float) -> ListingFacts:
    return ListingFacts(
        feed=FEED, listing_key=KEY, media_changed_at=after(seconds), priority=Priority.POPULAR, event_id="e2"
    )


def _announced(url: str = URL, **fields: object) -> AnnouncedPhoto:
    (photo,) = announcement.read(RULES, a_record(a_row("a", MediaURL=url, **fields))).photos or ()
    return photo


def _meanwhile(claimed: Photo) -> Iterator[Photo]:
    """Yield a claimed photo as it may be when its attempt ends: unchanged, announced again, or forced again."""
    yield claimed
    yield replace(claimed, announced_at=after(20))
    yield replace(claimed, forced_at=after(-1))


def _is_free(photo: Photo) -> bool:
    return not photo.is_claimed(NOW)


def _can_claim(photo: Photo) -> bool:
    return lifecycle.can_claim(a_listing(photo), photo, "w", NOW)


def _each(
    run: Callable[[Photo], Iterable[Photo]], where: Callable[[Photo], bool] = lambda _: True
) -> Iterator[PhotoRun]:  # fmt: skip
    """Run a transition on each example photo for which `where` is true; yield the photo with each result of `run`."""
    return ((photo, after_it) for photo in photos() if where(photo) for after_it in run(photo))


def _each_end(settle: Callable[[Photo, Photo], Iterable[Photo]]) -> Iterator[PhotoRun]:
    """End an attempt of each claimed example photo, also of one that has changed since it was claimed.

    `settle` gets the photo as recorded and as claimed, and returns the results to yield.
    """
    claims = (photo for photo in photos() if photo.claim is not None)
    ends = ((claimed, photo) for claimed in claims for photo in _meanwhile(claimed))
    return ((photo, after_it) for claimed, photo in ends for after_it in settle(photo, claimed))


def announced() -> dict[str, Iterable[PhotoRun]]:
    """Run the transitions of photos that an announcement brings. Return the runs, by the transition's name."""
    return {
        "announce": [(None, lifecycle.announce(_announced(), 0, _facts(0), NOW))],
        "announce_again": _each(
            lambda photo: [
                lifecycle.announce_again(photo, photo_announced, 3, _facts(seconds), NOW)
                for seconds, photo_announced in (
                    (-10, _announced(MediaModificationTimestamp="2026-11-23T08:59:00Z", LongDescription="Hall")),
                    (0, _announced()),
                    (0, _announced(OTHER_URL, MediaKey="a2", MediaObjectID="a", MediaCategory="Floor Plan")),
                    (20, _announced()),
                )
            ]
        ),
        "announce_retained": _each(lambda photo: [lifecycle.announce_retained(photo, order) for order in (0, 3)]),
        "announce_renamed": _each(
            lambda photo: [
                lifecycle.announce_renamed(photo, _announced(MediaKey="n"), 3, _facts(seconds), NOW)
                for seconds in (0, 20)
            ],
            lambda photo: photo.copy is not None,
        ),
        "announce_listing": _each(
            lambda photo: [lifecycle.announce_listing(photo, _facts(seconds), NOW) for seconds in (10, 20)]
        ),
        "show": _each(lambda photo: [lifecycle.show(photo, NOW)]),
    }


def requested() -> dict[str, Iterable[PhotoRun]]:
    """Run the transitions of photos that visitors, operators and sweeps ask for. Return the runs, by name."""
    times = (NOW, after(60))
    return {
        "raise_priority": _each(lambda photo: [lifecycle.raise_priority(photo, Priority.SEARCHED)]),
        "view": _each(lambda photo: [lifecycle.view(photo, RULES, NOW)], lambda photo: photo.due_at is not None),
        "request": _each(
            lambda photo: [lifecycle.request(photo, Priority.SEARCHED, forced_at) for forced_at in (None, after(-1))],
            _is_free,
        ),
        "force": _each(lambda photo: [lifecycle.force(photo, Priority.SEARCHED, NOW)], _is_free),
        "recheck": _each(
            lambda photo: [lifecycle.recheck(photo, due_at, NOW) for due_at in times],
            lambda photo: photo in a_listing(photo).recheckable and _is_free(photo),
        ),
        "rebuild": _each(
            lambda photo: [lifecycle.rebuild(photo, NOW)], lambda photo: photo.copy is not None and _is_free(photo)
        ),
    }


def attempted() -> dict[str, Iterable[PhotoRun]]:
    """Run the transitions of photos that belong to an attempt. Return the runs, by the transition's name."""
    times = (NOW, after(60))
    return {
        "release": _each(lambda photo: [lifecycle.release(photo, NOW)], lambda photo: work(photo) == "due"),
        "claim": _each(lambda photo: [lifecycle.claim(photo, "w", RULES, NOW)], _can_claim),
        "refresh_url": _each(
            lambda photo: [lifecycle.refresh_url(photo, "https://photos.example.com/fresh.jpg")], _can_claim
        ),
        "defer": _each(lambda photo: [lifecycle.defer(photo, until) for until in times], _can_claim),
        "settle_deferred": _each_end(
            lambda photo, _: [
                lifecycle.settle_deferred(photo, until, url_is_used=is_used)
                for until, is_used in product(times, (False, True))
            ]
        ),
        "settle_failed": _each_end(
            lambda photo, claimed: [
                lifecycle.settle_failed(photo, claimed, Failure(reason), RULES, NOW, 0.0)
                for reason in (Reason.TIMEOUT, Reason.GONE)
            ]
        ),
        "settle_unchanged": _each_end(
            lambda photo, claimed: (
                [
                    lifecycle.settle_unchanged(
                        photo, replace(claimed, has_own_timestamp=is_own), '"v2"', None, Priority.POPULAR, NOW
                    )
                    for is_own in (False, True)
                ]
                if photo.copy
                else []
            )
        ),
        "settle_downloaded": _each_end(
            lambda photo, claimed: [lifecycle.settle_downloaded(photo, claimed, NEW, Priority.POPULAR, NOW)]
        ),
        "lose_copy": _each(lambda photo: [lifecycle.lose_copy(photo, NOW)], lambda photo: photo.copy is not None),
        "lose_original": _each(
            lambda photo: [lifecycle.lose_original(photo, NOW)],
            lambda photo: photo.copy is not None and _is_free(photo),
        ),
    }


def shown() -> dict[str, Iterable[ListingRun]]:
    """Run the transitions that hide a listing or its photos. Return the runs, by the transition's name."""
    displayed = a_listing(a_photo("a", copy=OLD), a_photo("b"), discards=(a_discard("c", remove_at=after(60)),))
    away, held = (
        replace(displayed, hidden=hidden()),
        replace(displayed, hidden=replace(hidden(), held_until=after(60))),
    )
    removed = replace(away, is_removed_by_operator=True, removed_image_ids=("i",))
    everywhere = (displayed, away, held)
    closed = announcement.read(RULES, a_record(StandardStatus="Closed"))
    return {
        "hide": [
            (listing, replace(listing, hidden=lifecycle.hide(listing, closed, RULES, NOW))) for listing in everywhere
        ],
        "hold": [(listing, lifecycle.hold(listing, until)) for listing in (away, held) for until in (None, after(90))],
        "remove_listing": [(listing, lifecycle.remove_listing(listing, NOW)) for listing in everywhere],
        "remove_photos": [
            (listing, lifecycle.remove_photos(listing, [listing.photos[0].id], NOW)) for listing in everywhere
        ],
        "allow_again": [
            (removed, lifecycle.allow_again(removed, [])),
            (removed, lifecycle.allow_again(removed, ["i"])),
        ],
    }


def discarded() -> dict[str, Iterable[ListingRun]]:
    """Run the transitions of the objects that must go.

    Return the listings before and after, by the transition's name.
    """
    photo = a_photo("a", copy=OLD, claim=CLAIM)
    listing, without = a_listing(photo), a_listing(hidden=hidden(remove_at=0))
    orders = {
        "kept": a_discard("a", copy=NEW, remove_at=after(60)),
        "due": a_discard("a", copy=NEW),
        "removing": a_discard("a", copy=NEW, removing=True),
    }
    ordered = [a_listing(photo, discards=(discard,)) for discard in orders.values()]
    all_go = [replace(listing, hidden=hidden(remove_at=0)) for listing in (listing, ordered[0])]
    begun = ordered[2]

    def with_more(listing: Listing, *more: Discard) -> Listing:
        return replace(listing, discards=(*listing.discards, *more))

    return {
        "mark_unannounced": [
            (before, lifecycle.mark_unannounced(before, photo.id, NOW, changed=True)) for before in ordered
        ],
        "withdraw": [
            (
                listing,
                replace(with_more(listing, lifecycle.withdraw(photo, RemovalReason.OPT_OUT, None, NOW)), photos=()),
            )
        ],
        "supersede": [
            (before, lifecycle.supersede(before, replace(before.photos[0], copy=NEW), NOW, after(60)))
            for before in (listing, *ordered[:2])
        ],
        "discard_unclaimed": [
            (before, lifecycle.discard_unclaimed(before, photo, NEW, NOW)) for before in (listing, without)
        ],
        "discard_lost_copy": [(listing, with_more(listing, lifecycle.discard_lost_copy(photo, OLD, NOW)))],
        "begin_removal": [(before, lifecycle.begin_removal(before, NOW)) for before in (*ordered, *all_go)],
        "add_objects": [(begun, replace(begun, discards=(lifecycle.add_objects(begun.discards[0], ["k"], ()),)))],
        "finish_removal": [(begun, lifecycle.finish_removal(begun, begun.removing))],
        "retry_removal": [(begun, lifecycle.retry_removal(begun, begun.removing, NOW))],
    }
