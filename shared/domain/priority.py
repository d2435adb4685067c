"""Which photos are attempted first? Those that a person views, then searched ones, popular areas, and the rest."""

import re
from enum import StrEnum
from functools import lru_cache

from shared.domain.feed import Feed


class Priority(StrEnum):
    """The order of the queue, most urgent first."""

    VIEWED = "viewed"
    SEARCHED = "searched"
    POPULAR = "popular"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """The place of this priority in the order of the queue, from 0 for the most urgent.

        MongoDB's indexes sort by this number.
        """
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


def most_urgent(*priorities: Priority) -> Priority:
    """Return the most urgent of the given priorities; `ROUTINE` if none is given."""
    return min(priorities, key=lambda priority: priority.rank, default=Priority.ROUTINE)


def area_priority(feed: Feed, city: str | None) -> Priority:
    """Return the priority of photos that no visitor asked for: popular if the feed's popular areas name the city.

    The areas are `feed.popular_areas`. Upper and lower case do not matter, and `*` in an area stands for any text. The
    priority is routine for any other city, and if `city` is None because the MLS gave none.
    """
    is_popular = city is not None and bool(_areas(feed.popular_areas).fullmatch(city.strip().casefold()))
    return Priority.POPULAR if is_popular else Priority.ROUTINE


@lru_cache
def _areas(areas: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that matches the casefolded name of each city that one of `areas` covers."""
    patterns = (".*".join(map(re.escape, area.strip().casefold().split("*"))) for area in areas)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)", re.DOTALL)
