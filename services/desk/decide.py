"""Why has this listing these photos and no others? What an operator is told first, and what happened when. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from ops.explain import QueuePosition
from ops.words import counted
from shared.domain.failures import REASONS, Reason
from shared.domain.image import Photo, Status
from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason
from shared.stores.attempts import Attempt
from shared.stores.removals import Removal

_HIDDEN = {
    RemovalReason.LISTING_INACTIVE: "the MLS does not list it any more",
    RemovalReason.OPT_OUT: "its owner does not want it shown on the internet",
    RemovalReason.FORCED: "an operator had it removed",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_URL = re.compile(r"(https?):[\\/]+([^\\/\s\"'<>?#]*)[^\s\"'<>]*", re.IGNORECASE)
_DONE = {"downloaded", "unchanged"}


class Tone(StrEnum):
    """How a thing stands, as colours say it."""

    GOOD = "good"
    WAITS = "waits"
    BAD = "bad"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in one line, and what it rests on."""

    tone: Tone
    title: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a listing or to one of its photos, or that will."""

    at: datetime
    tone: Tone
    what: str
    detail: str = ""
    image_id: str = ""


def verdict(listing: Listing, around: Sequence[str], turn: QueuePosition | None, now: datetime) -> Verdict:
    """Say why the listing has the photos that it has.

    `around` is what of its feed keeps photos away, `turn` that of the photo that is fetched next.
    """
    total, missing = len(listing.photos), [photo for photo in listing.photos if photo.copy is None]
    if listing.hidden:
        why = _HIDDEN.get(listing.hidden.reason, listing.hidden.reason.value)
        return Verdict(Tone.OFF, f"Not shown: {why}.", tuple(_removal(listing, now)))
    if not total:
        return Verdict(Tone.OFF, "The MLS announced no photos that may be shown.", tuple(_set_aside(listing)))
    reasons = (*_missing(missing), *_next(missing, turn, now), *around, *_set_aside(listing))
    if len(missing) == total:
        tone = Tone.WAITS if all(photo.failure is None for photo in missing) else Tone.BAD
        return Verdict(tone, f"None of its {_photos(total)} is here yet.", reasons)
    if missing:
        return Verdict(Tone.BAD, f"{len(missing)} of its {_photos(total)} {_are(missing)} missing.", reasons)
    if outdated := [photo for photo in listing.photos if photo.is_outdated]:
        title = f"All {_photos(total)} are here; {len(outdated)} in an older version until the newer one is."
        return Verdict(Tone.WAITS, title, (*_missing(outdated), *_next(outdated, turn, now), *around))
    return Verdict(Tone.GOOD, f"All {_photos(total)} are here, each in its newest version.", tuple(_set_aside(listing)))


def _removal(listing: Listing, now: datetime) -> Iterator[str]:
    due_at = listing.removal_due_at
    if listing.is_removed_by_operator:
        yield "It stays away, whatever the MLS says, until an operator allows it again."
    if listing.hidden and listing.hidden.held_until == UNTIL_DECIDED:
        yield "Its copies are held: the feed lost so many listings at once that an operator must decide."
    elif due_at is None:
        yield "Nothing of it is held."
    elif due_at <= now:
        yield "Its copies are being removed."
    else:
        yield "Its copies are kept for now, hidden; the timeline says until when."


def _missing(missing: Sequence[Photo]) -> Iterator[str]:
    """Say what keeps photos away, the commonest reason first."""
    reasons = Counter(photo.failure.reason if photo.failure else None for photo in missing)
    for reason, count in reasons.most_common():
        if reason is None:
            yield f"{_photos(count)} waiting for a first attempt."
        else:
            yield f"{_photos(count)}: {reason.value}; {REASONS[reason].meaning}."
    if waiting := sum(photo.waits_for_new_url for photo in missing):
        yield f"{_photos(waiting)} had a URL that works once; the MLS must announce another."


def _next(missing: Sequence[Photo], turn: QueuePosition | None, now: datetime) -> Iterator[str]:
    if soonest := min((photo.due_at for photo in missing if photo.due_at), default=None):
        in_work = sum(photo.released_at is not None for photo in missing)
        yield f"{in_work} in work now." if in_work else f"The next attempt is due {ago(soonest, now)}."
    if turn:
        about = f"; its turn is about {ago(turn.about, now)}" if turn.about else ""
        yield f"{_photos(turn.ahead)} ahead of it in the queue{about}."


def _set_aside(listing: Listing) -> Iterator[str]:
    for reason, count in Counter(one.reason for one in listing.set_aside).most_common():
        yield f"{counted(count, 'row')} of Media set aside: {reason}."


def _photos(count: int) -> str:
    return counted(count, "photo")


def _are(many: Sequence[object]) -> str:
    return "is" if len(many) == 1 else "are"


def timeline(listing: Listing, attempts: Iterable[Attempt], removals: Iterable[Removal]) -> list[Moment]:
    """Return all that is known to have happened, and what is to come, the latest first."""
    moments = [*_said(listing), *_to_come(listing)]
    moments += [_attempted(one) for one in attempts]
    moments += [
        Moment(one.removed_at, Tone.OFF, "removed", f"{one.reason}, {one.objects} objects", one.image_id)
        for one in removals
    ]
    for photo in listing.photos:
        if photo.forced_at:
            moments.append(Moment(photo.forced_at, Tone.WAITS, "asked for again by an operator", "", photo.id))
    return sorted(moments, key=lambda one: one.at, reverse=True)


def _said(listing: Listing) -> Iterator[Moment]:
    if listing.modified_at:
        yield Moment(listing.modified_at, Tone.WAITS, f"the MLS changed it: {listing.standard_status or 'no status'}")
    if listing.media_changed_at:
        yield Moment(listing.media_changed_at, Tone.WAITS, "the MLS changed its photos")
    if listing.seen_at:
        yield Moment(listing.seen_at, Tone.WAITS, "recorded", f"{_photos(len(listing.photos))} may be shown")
    if listing.hidden:
        yield Moment(listing.hidden.since, Tone.OFF, "hidden", listing.hidden.reason.value)


def _to_come(listing: Listing) -> Iterator[Moment]:
    if listing.hidden and listing.photos:
        if listing.hidden.held_until == UNTIL_DECIDED:
            yield Moment(UNTIL_DECIDED, Tone.BAD, "copies are held", "the feed's removals wait for an operator")
        else:
            yield Moment(listing.hidden.removal_at, Tone.OFF, "copies are to be removed")
    for discard in listing.discards:
        yield Moment(discard.remove_at, Tone.OFF, "to be removed", discard.reason.value, discard.image_id)
    for photo in listing.photos:
        due_at = listing.photo_due_at(photo)
        if due_at:
            what = "its lease ends" if photo.released_at else f"attempt {photo.attempts + 1} is due"
            yield Moment(due_at, Tone.WAITS, what, f"priority {photo.priority}", photo.id)


def _attempted(one: Attempt) -> Moment:
    tone = Tone.GOOD if one.result in _DONE else Tone.BAD
    meaning = REASONS[Reason(one.result)].meaning if one.result in set(Reason) else ""
    said = "; ".join(part for part in (meaning, one.detail, f"{one.milliseconds:,} ms") if part)
    return Moment(one.at, tone, one.result, said, one.image_id)


def tone_of(status: Status) -> Tone:
    """Return a status's colour."""
    return {Status.DOWNLOADED: Tone.GOOD, Status.FAILED: Tone.BAD}.get(status, Tone.WAITS)


def ago(moment: datetime | None, now: datetime) -> str:
    """Say how far away a time is."""
    if moment is None:
        return "at no known time"
    seconds = (moment - now).total_seconds()
    length, unit = next(((length, unit) for length, unit in _UNITS if abs(seconds) >= 2 * length), (1, "s"))
    distance = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {distance}" if seconds > 0 else f"{distance} ago"


def stamp(moment: datetime) -> str:
    """Write a time in full, UTC."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def host_of(url: str) -> str:
    """Return the host of an MLS's URL: all of it that may be shown."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def redacted(text: str) -> str:
    """Leave of every URL in a text its host alone: an MLS's URL is shown to nobody."""
    return _URL.sub(lambda found: f"{found[1]}://{found[2].rpartition('@')[2]}/…", text)
