"""Which photos are attempted first? Those that a person waits for, then search results, popular areas, and the rest."""

from enum import StrEnum

from shared.domain.feed import Feed


class Priority(StrEnum):
    """The order of the queue, most urgent first."""

    VIEWED = "viewed"
    SEARCHED = "searched"
    POPULAR = "popular"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """The place in the queue's order, from 0 for the most urgent; indexes sort by it."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


def most_urgent(*priorities: Priority) -> Priority:
    """Return the most urgent of the given priorities; routine if none is given."""
    return min(priorities, key=lambda priority: priority.rank, default=Priority.ROUTINE)


def area_priority(feed: Feed, city: str | None) -> Priority:
    """Return the priority of photos that nobody asked for: popular if the feed lists their city, else routine."""
    popular = {area.casefold() for area in feed.popular_areas}
    return Priority.POPULAR if city is not None and city.strip().casefold() in popular else Priority.ROUTINE
