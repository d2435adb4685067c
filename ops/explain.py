"""Why is it as it is? A listing's record in words: what the MLS said, each photo's state, what happens next."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.words import many
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

_ATTEMPTS_SHOWN = 2_000

Say = Callable[[datetime | None, datetime], str]
"""From a time and now to words."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One photo in words: its lines, the first of which sums it up."""

    image_id: str
    status: Status
    lines: tuple[str, ...]
    turn: "Turn | None" = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A due photo's place in its feed's queue, and about when it is released; None where nobody can tell."""

    ahead: int
    about: datetime | None


async def find(listings: ListingSearch, what: str) -> tuple[Sequence[Listing], str | None]:
    """Find what is meant by a ListingKey, an image's id or an MLS URL; with the image's id where it is one photo."""
    if found := await listings.by_key(what):
        return found, None
    if listing := await listings.by_image(what):
        return [listing], what
    key = url_key(what)
    found = await listings.by_url_key(key)
    image = next((photo.id for one in found for photo in one.photos if key in photo.url_keys), None)
    return found, image


async def turns(
    listings: ReleaseQueue, throughputs: Throughputs, listing: Listing, feed: Feed, use: BudgetUse, now: datetime
) -> Mapping[str, Turn]:
    """Return the turn of every due photo that waits for its release, by image id. Photos due together share a place.

    While the feed is silent nothing moves; none has a time where nobody can tell for how long.
    """
    per_second = expected_per_second(feed, await throughputs.get(feed.name), now)
    places: dict[tuple[Priority, datetime], Turn] = {}
    found: dict[str, Turn] = {}
    for photo in listing.photos:
        due_at = listing.photo_due_at(photo)
        if due_at is None or due_at > now or photo.released_at or photo.is_claimed(now):
            continue
        place = photo.priority, due_at
        if place not in places:
            ahead = await listings.ahead_of(feed.name, *place, now)
            seconds = seconds_until_turn(ahead, per_second)
            is_known = seconds is not None and use.suspended_until is not None
            begin = max(now, use.suspended_until or now)
            places[place] = Turn(ahead, begin + timedelta(seconds=seconds or 0) if is_known else None)
        found[photo.id] = places[place]
    return found


async def history(attempts: Attempts, listing: Listing) -> Sequence[Attempt]:
    """Return the newest attempts of a listing's photos, newest first."""
    return await attempts.of_images([photo.id for photo in listing.photos], _ATTEMPTS_SHOWN)


def of_listing(listing: Listing, now: datetime) -> Iterator[str]:
    """Say what is known of the listing itself."""
    said = f"the MLS said {listing.standard_status or 'no status'}, last changed {when(listing.modified_at, now)}"
    yield f"{listing.feed} {listing.key}: {said}, its photos {when(listing.media_changed_at, now)}"
    if listing.hidden is None:
        none = "; the newest record names no photo that may be shown" if not listing.photos else ""
        yield f"it is displayed, with {many(len(listing.photos), 'photo')}{none}"
    else:
        yield (
            f"it is not displayed ({listing.hidden.reason}) since {when(listing.hidden.since, now)}; "
            f"its copies are {_removed(listing.hidden, now)}"
        )
    if listing.is_removed_by_operator:
        yield "an operator had it removed; it stays away until `imagectl removals allow` lifts that"
    if listing.removed_image_ids:
        yield f"images that an operator had removed, and that stay away: {', '.join(listing.removed_image_ids)}"
    for one in listing.set_aside:
        yield f"set aside: {one.media_key}: {one.reason}"
    for discard in listing.discards:
        yield f"to be removed {when(discard.remove_at, now)}: {discard.object_id} ({discard.reason})"


def _removed(hidden: Hidden, now: datetime) -> str:
    if hidden.held_until == UNTIL_DECIDED:
        return f"held: {hidden.reason} removals of this feed are frozen until `imagectl removals` decides"
    return f"removed {when(hidden.removal_at, now)}"


def of_photo(
    listing: Listing,
    photo: Photo,
    attempts: Sequence[Attempt],
    feed: Feed,
    renderer: Renderer,
    now: datetime,
    turn: Turn | None = None,
) -> Explained:
    """Say why a photo has its status, which URL is served, and what happens next and when."""
    lines = [
        f"photo {photo.order} {photo.id} ({photo.object_id}): {photo.status}, {next_step(listing, photo, feed, now)}"
    ]
    if turn:
        lines.append(f"  {_in_words(turn, now)}")
    lines.append(f"  the MLS announced its newest version {when(photo.announced_at, now)}")
    if photo.copy:
        of_newest = (
            "the newest version" if not photo.is_outdated else "an older version, served until the newer is here"
        )
        lines.append(f"  held: {of_newest}, downloaded {when(photo.copy.downloaded_at, now)}")
    lines.append(f"  {_served(listing, photo, renderer)}")
    if photo.failure:
        meaning = REASONS[photo.failure.reason].meaning
        lines.append(f"  last failure: {photo.failure.reason}: {meaning}; {photo.failure.detail}")
    lines += [f"  {_attempt(one, now)}" for one in attempts if one.image_id == photo.id]
    return Explained(photo.id, photo.status, tuple(lines), turn)


def _served(listing: Listing, photo: Photo, renderer: Renderer) -> str:
    """Say which URL frontends get, and by what rule."""
    if not listing.is_displayed:
        return "not served: the listing is not displayed"
    url = json.loads(renderer.fragment(photo))["url"]
    why = "the full variant of the copy that is held" if photo.copy else "there is no copy, so a view waits for one"
    return f"served: {url}, {why}"


def _in_words(turn: Turn, now: datetime) -> str:
    about = f"its turn is about {when(turn.about, now)}" if turn.about else "when it has its turn cannot be told yet"
    return f"{many(turn.ahead, 'photo is', 'photos are')} ahead of it in the queue; {about}"


def next_step(listing: Listing, photo: Photo, feed: Feed, now: datetime, say: Say | None = None) -> str:
    """Say what happens next to a photo, and when; `say` puts times into words, `when` does if none is given."""
    say = say or when
    if photo.waits_for_new_url and not photo.wants_rebuild:
        return "its URL works once and was used: it waits for the MLS to announce another"
    due_at = listing.photo_due_at(photo)
    if due_at is None:
        return "nothing to do" if listing.is_displayed else "nothing to do while the listing is not displayed"
    if photo.claim and photo.is_claimed(now):
        return f"in the hands of {photo.claim.worker} until {say(photo.claim.until, now)}"
    if photo.released_at and due_at > now:
        return f"released to the downloaders {say(photo.released_at, now)}, at priority {photo.priority}"
    given_up = photo.failure is not None and retry.is_given_up(photo.failure, photo.attempts, feed)
    what = (
        "given up for now; tried again" if given_up else f"attempt {photo.attempts + 1} of {feed.max_attempts} is due"
    )
    return f"{what} {say(due_at, now)}, at priority {photo.priority}"


def _attempt(one: Attempt, now: datetime) -> str:
    known = {reason.value: rule.meaning for reason, rule in REASONS.items()}
    meaning = f" ({known[one.result]})" if one.result in known else ""
    detail = f": {one.detail}" if one.detail else ""
    return f"{when(one.at, now)}: {one.result}{meaning}{detail}, {one.milliseconds} ms"


def when(moment: datetime | None, now: datetime) -> str:
    """Say a time, and how far away it is."""
    if moment is None:
        return "at a time it did not name"
    seconds = (moment - now).total_seconds()
    size, unit = next(
        ((size, unit) for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")) if abs(seconds) >= 2 * size),
        (1, "s"),
    )
    distance = f"in {seconds / size:.0f} {unit}" if seconds > 0 else f"{-seconds / size:.0f} {unit} ago"
    return f"{moment.isoformat(timespec='seconds')} ({distance})"
