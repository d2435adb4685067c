"""Explains a listing in words: what is recorded of it, and what happens next to each of its photos."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.words import counted, distance_text
from shared.domain import retry
from shared.domain.failures import REASONS
from shared.domain.feed import Feed
from shared.domain.image import Photo, Status, url_key
from shared.domain.listing import UNTIL_DECIDED, Hidden, Listing
from shared.domain.priority import Priority
from shared.domain.throughput import expected_per_second, seconds_until_turn
from shared.origin_budget.use import BudgetUse
from shared.render import Renderer
from shared.stores.attempts import Attempt, Attempts
from shared.stores.listing_search import ListingSearch
from shared.stores.release_queue import ReleaseQueue
from shared.stores.throughputs import Throughputs

_MAX_ATTEMPTS_READ = 2_000

TimeText = Callable[[datetime | None, datetime], str]
"""Takes a time, or None for an unknown time, and the time now; returns the first of the two in words."""


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A due photo's position in its feed's queue, and about when it is released; `explain --json` prints these names.

    `ahead` is how many photos are released before it. `about` is the estimated time of its release, None if it cannot
    be estimated.
    """

    ahead: int
    about: datetime | None


@dataclass(frozen=True, slots=True)
class PhotoExplanation:
    """One photo explained in words; `explain --json` prints the names of these fields.

    The first of `lines` is the summary. `turn` is the photo's queue position, None if the photo does not wait for its
    release.
    """

    image_id: str
    status: Status
    lines: tuple[str, ...]
    turn: QueuePosition | None = None


async def find_listings(listings: ListingSearch, text: str) -> tuple[Sequence[Listing], str | None]:
    """Find the listings that `text` names in MongoDB: by their ListingKey, an image id, or a URL that the MLS gave.

    Returns the listings, of any feed, and the id of the image that `text` names. The id is None for a ListingKey. If
    nothing is found, the listings are empty and the id is None. Raises StoreUnavailable.
    """
    if found := await listings.by_key(text):
        return found, None
    if listing := await listings.by_image(text):
        return [listing], text
    key = url_key(text)
    found = await listings.by_url_key(key)
    photos = (photo for listing in found for photo in listing.photos)
    return found, next((photo.id for photo in photos if key in photo.url_keys), None)


async def queue_positions(
    listings: ReleaseQueue, throughputs: Throughputs, listing: Listing, feed: Feed, use: BudgetUse, now: datetime
) -> Mapping[str, QueuePosition]:
    """Return the queue position of each due photo of a listing that waits for its release, by image id.

    `feed` is the listing's feed, `use` how much of the feed's budget is used. Photos of one priority that became due at
    the same time share a position. While the feed is suspended, no photo is released. If the end of the suspension is
    not known, no position has a time. Raises StoreUnavailable.
    """
    per_second = expected_per_second(feed, await throughputs.get(feed.name), now)
    by_place: dict[tuple[Priority, datetime], QueuePosition] = {}
    positions: dict[str, QueuePosition] = {}
    for photo in listing.photos:
        due_at = listing.photo_due_at(photo)
        if due_at is None or due_at > now or photo.released_at or photo.is_claimed(now):
            continue
        place = photo.priority, due_at
        if place not in by_place:
            ahead = await listings.ahead_of(feed.name, *place, now)
            seconds = seconds_until_turn(ahead, per_second)
            has_time = seconds is not None and use.suspended_until is not None
            begin = max(now, use.suspended_until or now)
            by_place[place] = QueuePosition(ahead, begin + timedelta(seconds=seconds or 0) if has_time else None)
        positions[photo.id] = by_place[place]
    return positions


async def newest_attempts(attempts: Attempts, listing: Listing) -> Sequence[Attempt]:
    """Read up to 2,000 attempts of one listing's photos from MongoDB, and return them, the newest first.

    Raises StoreUnavailable.
    """
    return await attempts.of_images([photo.id for photo in listing.photos], _MAX_ATTEMPTS_READ)


def explain_listing(listing: Listing, now: datetime) -> Iterator[str]:
    """Yield the lines about the listing itself: what the MLS announced, and what is shown, hidden and removed. Pure.

    The lines about its photos are returned by `explain_photo`.
    """
    status, changed = listing.standard_status or "no status", time_text(listing.modified_at, now)
    announced = f"the MLS said {status}, last changed {changed}"
    yield f"{listing.feed} {listing.key}: {announced}, its photos {time_text(listing.media_changed_at, now)}"
    if listing.hidden is None:
        none = "; the newest record names no photo that may be shown" if not listing.photos else ""
        yield f"it is displayed, with {counted(len(listing.photos), 'photo')}{none}"
    else:
        yield (
            f"it is not displayed ({listing.hidden.reason}) since {time_text(listing.hidden.since, now)}; "
            f"its copies are {_removal_text(listing.hidden, now)}"
        )
    if listing.is_removed_by_operator:
        yield "an operator had it removed; it stays away until `imagectl removals allow` lifts that"
    if listing.removed_image_ids:
        yield f"images that an operator had removed, and that stay away: {', '.join(listing.removed_image_ids)}"
    for row in listing.set_aside:
        yield f"set aside: {row.media_key}: {row.reason}"
    for discard in listing.discards:
        yield f"to be removed {time_text(discard.remove_at, now)}: {discard.object_id} ({discard.reason})"


def _removal_text(hidden: Hidden, now: datetime) -> str:
    if hidden.held_until == UNTIL_DECIDED:
        return f"held: {hidden.reason} removals of this feed are frozen until `imagectl removals` decides"
    if hidden.waits_for_word:
        return "kept: the MLS says neither yes nor no"
    return f"removed {time_text(hidden.removal_at, now)}"


def explain_photo(
    listing: Listing,
    photo: Photo,
    attempts: Sequence[Attempt],
    feed: Feed,
    renderer: Renderer,
    now: datetime,
    position: QueuePosition | None = None,
) -> PhotoExplanation:
    """Return an explanation of a photo: why it has its status, which URL is served, what happens next and when. Pure.

    `photo` is one of `listing`, and `feed` the listing's feed. `attempts` are the attempts of all photos of the
    listing, the newest first; attempts of other photos are ignored. `renderer` gives the URL that is served. `position`
    is the photo's queue position, None if the photo does not wait for its release.
    """
    lines = [
        f"photo {photo.order} {photo.id} ({photo.object_id}): {photo.status}, {next_step(listing, photo, feed, now)}"
    ]
    if position:
        lines.append(f"  {_position_text(position, now)}")
    lines.append(f"  the MLS announced its newest version {time_text(photo.announced_at, now)}")
    if photo.copy:
        version = "an older version, served until the newer is here" if photo.is_outdated else "the newest version"
        lines.append(f"  held: {version}, downloaded {time_text(photo.copy.downloaded_at, now)}")
    lines.append(f"  {_served_text(listing, photo, renderer)}")
    if photo.failure:
        meaning = REASONS[photo.failure.reason].meaning
        lines.append(f"  last failure: {photo.failure.reason}: {meaning}; {photo.failure.detail}")
    lines += [f"  {_attempt_text(attempt, now)}" for attempt in attempts if attempt.image_id == photo.id]
    return PhotoExplanation(photo.id, photo.status, tuple(lines), position)


def _served_text(listing: Listing, photo: Photo, renderer: Renderer) -> str:
    """Return a phrase that says which URL frontends get for a photo, and why.

    For a photo of a hidden listing, the phrase says that no URL is served.
    """
    if not listing.is_displayed:
        return "not served: the listing is not displayed"
    url = json.loads(renderer.fragment(photo))["url"]
    why = "the full variant of the copy that is held" if photo.copy else "there is no copy, so a view waits for one"
    return f"served: {url}, {why}"


def _position_text(position: QueuePosition, now: datetime) -> str:
    about = position.about
    time = f"its turn is about {time_text(about, now)}" if about else "when it has its turn cannot be told yet"
    return f"{counted(position.ahead, 'photo is', 'photos are')} ahead of it in the queue; {time}"


def next_step(
    listing: Listing, photo: Photo, feed: Feed, now: datetime, text_of: TimeText | None = None
) -> str:  # fmt: skip
    """Return what happens next to a photo of a listing and when, as a phrase for operators. Pure.

    `feed` is the listing's feed, whose rules say how many attempts a photo gets. `text_of` takes a time and `now`, and
    returns the time in words. If it is None, `time_text` is used.
    """
    text_of = text_of or time_text
    if photo.waits_for_new_url and not photo.wants_rebuild:
        return "its URL works once and was used: it waits for the MLS to announce another"
    due_at = listing.photo_due_at(photo)
    if due_at is None:
        return "nothing to do" if listing.is_displayed else "nothing to do while the listing is not displayed"
    if photo.claim and photo.is_claimed(now):
        return f"in the hands of {photo.claim.worker} until {text_of(photo.claim.until, now)}"
    if photo.released_at and due_at > now:
        return f"released to the downloaders {text_of(photo.released_at, now)}, at priority {photo.priority}"
    is_given_up = photo.failure is not None and retry.is_given_up(photo.failure, photo.attempts, feed)
    number = photo.attempts + 1
    next_attempt = f"attempt {number} of {max(number, feed.max_attempts)} is due"
    what = "given up for now; tried again" if is_given_up else next_attempt
    return f"{what} {text_of(due_at, now)}, at priority {photo.priority}"


def _attempt_text(attempt: Attempt, now: datetime) -> str:
    meanings = {reason.value: rule.meaning for reason, rule in REASONS.items()}
    meaning = f" ({meanings[attempt.result]})" if attempt.result in meanings else ""
    detail = f": {attempt.detail}" if attempt.detail else ""
    return f"{time_text(attempt.at, now)}: {attempt.result}{meaning}{detail}, {attempt.milliseconds} ms"


def time_text(time: datetime | None, now: datetime) -> str:
    """Return a time in ISO 8601 with its distance from `now` in brackets. Pure.

    If the MLS did not name the time, `time` is None, and the result is `at a time it did not name`, for a sentence
    whose subject is the MLS.
    """
    if time is None:
        return "at a time it did not name"
    return f"{time.isoformat(timespec='seconds')} ({distance_text(time, now)})"
