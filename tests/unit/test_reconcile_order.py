"""The newest announcement decides, however events are doubled, shuffled and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import announcement, reconcile
from shared.domain.freshness import Position
from shared.domain.listing import Listing
from tests.builders import NOW, Row, a_feed, a_record, a_row, stamp, with_copies, without


@dataclass(frozen=True)
class Announced:
    """A property record, and its event's position on the topic."""

    record: Row
    position: Position


PHOTOS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 3),
        st.sampled_from(["", "Hall"]),
        st.sampled_from(["https://p.example.com/1", "https://p.example.com/2"]),
        st.sampled_from([None, ["Private"]]),
    ),
    max_size=4,
)
STEPS = st.lists(
    st.tuples(PHOTOS, st.sampled_from(["Active", "Closed"]), st.integers(0, 1), st.integers(0, 1)),
    min_size=1,
    max_size=5,
)


@st.composite
def lives(draw: st.DrawFn) -> list[Announced]:
    """Draw what an MLS announces of a listing over time. Its timestamps never go back, but may stand still."""
    have_times, have_own = draw(st.booleans()), draw(st.booleans())
    modified = media = 0
    life: list[Announced] = []
    for offset, (photos, status, more_modified, more_media) in enumerate(draw(STEPS)):
        modified, media = modified + more_modified, media + more_media
        rows = [
            a_row(
                key, Order=order, ShortDescription=caption, MediaURL=url, Permission=permission,
                **({"MediaModificationTimestamp": stamp(media)} if have_own else {}),
            )
            for key, order, caption, url, permission in photos
        ]  # fmt: skip
        # No record repeats another word for word.
        record = a_record(*rows, at=None, StandardStatus=status, City=f"City {offset}")
        if have_times:
            record |= {"ModificationTimestamp": stamp(modified), "MediaChangeTimestamp": stamp(media)}
        elif have_own:
            record["Media"] = [without(row, "MediaModificationTimestamp") for row in rows]
        life.append(Announced(record, Position(NOW, 0, offset)))
    return life


@st.composite
def lives_and_arrivals(draw: st.DrawFn) -> tuple[list[Announced], list[Announced]]:
    """Draw a listing's life; and its announcements doubled and shuffled, with some replayed at the end."""
    life = draw(lives())
    doubled = draw(st.permutations([*life, *draw(st.lists(st.sampled_from(life), max_size=5))]))
    return life, [*doubled, *draw(st.lists(st.sampled_from(life), max_size=5))]


def facts(listing: Listing | None) -> object:
    """Return the facts of a listing that the MLS decides, without copies and our own times."""
    assert listing is not None
    photos = [
        (photo.object_id, photo.media_key, photo.url, photo.url_keys, photo.order, photo.caption, photo.announced_at)
        for photo in listing.photos
    ]
    hidden_by = listing.hidden and listing.hidden.reason
    return listing.version, listing.standard_status, listing.city, hidden_by, photos, listing.set_aside


def apply(listing: Listing | None, announced: Announced) -> Listing | None:
    """Apply an announcement to a listing; return None if that changes nothing."""
    return reconcile.apply(listing, announcement.read(a_feed(), announced.record, announced.position), a_feed(), NOW)


def lived(life: Sequence[Announced], *, has_copies: bool = False) -> Listing | None:
    """Return the listing after all announcements; its photos are downloaded after each if `has_copies`."""
    listing: Listing | None = None
    for announced in life:
        listing = apply(listing, announced) or listing
        if has_copies:
            listing = with_copies(listing)
    return listing


@settings(max_examples=150, deadline=None)
@given(lives_and_arrivals())
def test_events_doubled_shuffled_and_replayed_lead_to_what_the_newest_announces(
    life_and_arrivals: tuple[list[Announced], list[Announced]],
) -> None:
    life, arrivals = life_and_arrivals
    assert facts(lived(arrivals)) == facts(lived(life)) == facts(lived(life[-1:]))


@settings(max_examples=100, deadline=None)
@given(lives_and_arrivals())
def test_a_replay_changes_nothing(life_and_arrivals: tuple[list[Announced], list[Announced]]) -> None:
    life, arrivals = life_and_arrivals
    listing = lived(life, has_copies=True)
    for announced in arrivals:
        assert apply(listing, announced) is None


@settings(max_examples=100, deadline=None)
@given(lives_and_arrivals())
def test_no_photo_is_shown_twice_and_none_leaves_without_a_discard(
    life_and_arrivals: tuple[list[Announced], list[Announced]],
) -> None:
    listing: Listing | None = None
    shown_ever: set[str] = set()
    for announced in life_and_arrivals[1]:
        listing = apply(listing, announced) or listing
        assert listing is not None
        ids = [photo.id for photo in listing.photos]
        shown_ever |= set(ids)
        assert len(set(ids)) == len(ids)
        assert shown_ever == set(ids) | {discard.image_id for discard in listing.discards}
