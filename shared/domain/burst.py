"""When does what leaves a feed look like the feed's fault? Pure."""

from shared.domain.feed import Feed

FEWEST = 50
"""So many listings have to turn hidden, whatever share of the feed they are: a small feed has such days."""


def is_burst(hidden: int, displayed: int, feed: Feed) -> bool:
    """Whether so many listings turned hidden, and so many are still displayed, that an operator has to look."""
    return hidden >= FEWEST and hidden > feed.removal_freeze_share * (displayed + hidden)
