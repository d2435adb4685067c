"""Why does a listing have these photos and no others? The verdict, and the timeline of what happened when. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ops.explain import QueuePosition
from ops.words import counted
from services.desk.formatting import distance
from shared.domain.failures import REASONS, Reason
from shared.domain.image import Photo, Status
from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason
from shared.origin_budget.use import SuspendedBy, Suspension
from shared.stores.attempts import Attempt
from shared.stores.removals import Removal

SUCCESSES = {"downloaded", "unchanged"}
"""The results of attempts after which a good copy is held."""
_HIDDEN = {
    RemovalReason.LISTING_INACTIVE: "the MLS does not list it any more",
    RemovalReason.OPT_OUT: "its owner does not want it shown on the internet",
    RemovalReason.FORCED: "an operator had it removed",
}
_SUSPENDED = {
    SuspendedBy.OPERATOR: "paused by an operator",
    SuspendedBy.ORIGIN: "throttled by the origin",
    SuspendedBy.BREAKER: "its breaker is open, and it is only probed",
}


class Tone(StrEnum):
    """The colour of a badge, a verdict or an entry of a timeline; the values are CSS classes."""

    GOOD = "good"
    WAITS = "waits"
    BAD = "bad"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Says why a listing has the photos that it has: the title in one line, and the reasons."""

    tone: Tone
    title: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event in the life of a listing or of one of its photos, past or expected.

    `image_id` is the photo's id; it is "" if the event is about the listing.
    """

    at: datetime
    tone: Tone
    what: str
    detail: str = ""
    image_id: str = ""


def verdict(listing: Listing, feed_lines: Sequence[str], position: QueuePosition | None, now: datetime) -> Verdict:
    """Return why the listing has the photos that it has, in words for operators. Pure.

    `feed_lines` say what in the listing's feed keeps photos away, such as a suspension; empty if nothing does.
    `position` is the queue position of the listing's photo that is released next; None if no photo of the listing waits
    for its release.
    """
    total, missing = len(listing.photos), [photo for photo in listing.photos if photo.copy is None]
    if listing.hidden:
        why = _HIDDEN.get(listing.hidden.reason, listing.hidden.reason.value)
        return Verdict(Tone.OFF, f"Not shown: {why}.", tuple(_removal_reasons(listing, now)))
    if not total:
        return Verdict(Tone.OFF, "The MLS announced no photos that may be shown.", tuple(_set_aside(listing)))
    reasons = (*_failures(missing), *_next_attempt(missing, position, now), *feed_lines, *_set_aside(listing))
    if len(missing) == total:
        tone = Tone.WAITS if all(photo.failure is None for photo in missing) else Tone.BAD
        return Verdict(tone, f"None of its {_photos(total)} is here yet.", reasons)
    if missing:
        are = "is" if len(missing) == 1 else "are"
        return Verdict(Tone.BAD, f"{len(missing)} of its {_photos(total)} {are} missing.", reasons)
    if outdated := [photo for photo in listing.photos if photo.is_outdated]:
        title = f"All {_photos(total)} are here; {len(outdated)} in an older version until the newer one is."
        return Verdict(
            Tone.WAITS, title, (*_failures(outdated), *_next_attempt(outdated, position, now), *feed_lines)
        )  # fmt: skip
    return Verdict(Tone.GOOD, f"All {_photos(total)} are here, each in its newest version.", tuple(_set_aside(listing)))


def _removal_reasons(listing: Listing, now: datetime) -> Iterator[str]:
    """Yield sentences that say what happens to a hidden listing's copies, and whether an operator removed it."""
    due_at = listing.removal_due_at
    if listing.is_removed_by_operator:
        yield "It stays away, whatever the MLS says, until an operator allows it again."
    if listing.hidden and listing.hidden.held_until == UNTIL_DECIDED:
        yield "Its copies are held: the feed lost so many listings at once that an operator must decide."
    elif listing.hidden and listing.hidden.waits_for_word:
        yield "Its copies are kept until the MLS says a word for yes or no."
    elif due_at is None:
        yield "Nothing of it is held."
    elif due_at <= now:
        yield "Its copies are being removed."
    else:
        yield "Its copies are kept for now, hidden; the timeline says until when."


def _failures(photos: Sequence[Photo]) -> Iterator[str]:
    """Yield sentences that say why `photos` are missing or outdated, the most frequent reason first.

    `photos` are the photos of one listing that have no copy, or only a copy of an older version.
    """
    reasons = Counter(photo.failure.reason if photo.failure else None for photo in photos)
    for reason, count in reasons.most_common():
        if reason is None:
            yield f"{_photos(count)} waiting for a first attempt."
        else:
            yield f"{_photos(count)}: {reason.value}; {REASONS[reason].meaning}."
    if waiting := sum(photo.waits_for_new_url for photo in photos):
        yield f"{_photos(waiting)} had a URL that works once; the MLS must announce another."


def _next_attempt(photos: Sequence[Photo], position: QueuePosition | None, now: datetime) -> Iterator[str]:
    """Yield sentences that say when the next of `photos` is attempted, and how many are ahead of it in the queue.

    `photos` are the photos of one listing that have no copy of their newest version. `position` is the queue position
    of the listing's photo that is released next, None if no photo waits for its release. Yields nothing if no photo is
    due at any time or waits for its release.
    """
    if soonest := min((photo.due_at for photo in photos if photo.due_at), default=None):
        in_flight = sum(photo.released_at is not None for photo in photos)
        yield f"{in_flight} in work now." if in_flight else f"The next attempt is due {distance(soonest, now)}."
    if position:
        about = f"; its turn is about {distance(position.about, now)}" if position.about else ""
        yield f"{_photos(position.ahead)} ahead of it in the queue{about}."


def _set_aside(listing: Listing) -> Iterator[str]:
    """Yield one sentence for each reason why Media rows of the listing are set aside, with the number of rows."""
    for reason, count in Counter(row.reason for row in listing.set_aside).most_common():
        yield f"{counted(count, 'row')} of Media set aside: {reason}."


def _photos(count: int) -> str:
    return counted(count, "photo")


def timeline(
    listing: Listing, attempts: Iterable[Attempt], removals: Iterable[Removal]
) -> list[TimelineEntry]:  # fmt: skip
    """Return what is known to have happened to a listing, and what is expected to, the latest first. Pure.

    `attempts` and `removals` are the attempts and removals of this listing's photos.
    """
    entries = [*_listing_entries(listing), *_expected_entries(listing)]
    entries += [_attempt_entry(attempt) for attempt in attempts]
    entries += [
        TimelineEntry(
            removal.removed_at, Tone.OFF, "removed", f"{removal.reason}, {removal.objects} objects", removal.image_id
        )
        for removal in removals
    ]
    entries += [
        TimelineEntry(photo.forced_at, Tone.WAITS, "asked for again", "", photo.id)
        for photo in listing.photos
        if photo.forced_at
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _listing_entries(listing: Listing) -> Iterator[TimelineEntry]:
    if listing.modified_at:
        status = listing.standard_status or "no status"
        yield TimelineEntry(listing.modified_at, Tone.WAITS, f"the MLS changed it: {status}")
    if listing.media_changed_at:
        yield TimelineEntry(listing.media_changed_at, Tone.WAITS, "the MLS changed its photos")
    if listing.seen_at:
        shown = f"{_photos(len(listing.photos))} may be shown"
        yield TimelineEntry(listing.seen_at, Tone.WAITS, "recorded", shown)
    if listing.hidden:
        yield TimelineEntry(listing.hidden.since, Tone.OFF, "hidden", listing.hidden.reason.value)


def _expected_entries(listing: Listing) -> Iterator[TimelineEntry]:
    if listing.hidden and listing.photos:
        if listing.hidden.held_until == UNTIL_DECIDED:
            hold = "the feed's removals wait for an operator"
            yield TimelineEntry(UNTIL_DECIDED, Tone.BAD, "copies are held", hold)
        elif not listing.hidden.waits_for_word:
            yield TimelineEntry(listing.hidden.removal_at, Tone.OFF, "copies are to be removed")
    for discard in listing.discards:
        yield TimelineEntry(discard.remove_at, Tone.OFF, "to be removed", discard.reason.value, discard.image_id)
    for photo in listing.photos:
        due_at = listing.photo_due_at(photo)
        if due_at:
            what = "its lease ends" if photo.released_at else f"attempt {photo.attempts + 1} is due"
            yield TimelineEntry(due_at, Tone.WAITS, what, f"priority {photo.priority}", photo.id)


def _attempt_entry(attempt: Attempt) -> TimelineEntry:
    tone = Tone.GOOD if attempt.result in SUCCESSES else Tone.BAD
    meaning = REASONS[Reason(attempt.result)].meaning if attempt.result in set(Reason) else ""
    detail = "; ".join(part for part in (meaning, attempt.detail, f"{attempt.milliseconds:,} ms") if part)
    return TimelineEntry(attempt.at, tone, attempt.result, detail, attempt.image_id)


def tone_of(status: Status) -> Tone:
    """Return the colour of the badge that shows a photo's status. Pure."""
    return {Status.DOWNLOADED: Tone.GOOD, Status.FAILED: Tone.BAD}.get(status, Tone.WAITS)


def suspension_text(suspension: Suspension) -> str:
    """Return what suspends a feed as a phrase: a pause, a throttling or the breaker, until when and why. Pure."""
    until = f" until {suspension.until:%Y-%m-%d %H:%M:%S} UTC" if suspension.until else ""
    return _SUSPENDED[suspension.by] + until + (f": {suspension.reason}" if suspension.reason else "")
