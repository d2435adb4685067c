"""When are so many listings hidden at once that the feed may be at fault? Pure."""

from shared.domain.feed import Feed

MIN_HIDDEN = 50
"""Fewer hidden listings are no burst, whatever share of the feed they are: a small feed has such days."""


def is_burst(hidden: int, displayed: int, feed: Feed) -> bool:
    """Return True if a feed's hidden listings are a burst, for which removals wait until an operator decides.

    `hidden` counts the listings hidden within an hour, `displayed` those that the feed still displays. A burst is at
    least `MIN_HIDDEN` listings and more than the feed's `removal_freeze_share` of both together.
    """
    return hidden >= MIN_HIDDEN and hidden > feed.removal_freeze_share * (displayed + hidden)
