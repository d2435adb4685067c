"""Who goes first? A person who waits, then search results, then popular areas, then the rest."""

from enum import StrEnum

from shared.domain.feed import Feed


class Priority(StrEnum):
    """Most urgent first; `rank` is what indexes sort by (0 is most urgent)."""

    VIEWED = "viewed"
    SEARCHED = "searched"
    POPULAR = "popular"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """Position in the queue's order, 0 first."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


def most_urgent(*priorities: Priority) -> Priority:
    """Return the most urgent of the given priorities; routine where there is none."""
    return min(priorities, key=lambda priority: priority.rank, default=Priority.ROUTINE)


def area_priority(feed: Feed, city: str | None) -> Priority:
    """Return the priority of photos that nobody asked for: popular if the feed lists their city, else routine."""
    popular = {area.casefold() for area in feed.popular_areas}
    return Priority.POPULAR if city is not None and city.strip().casefold() in popular else Priority.ROUTINE
