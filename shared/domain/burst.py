"""When are so many listings hidden at once that the feed may be at fault?"""

from shared.domain.feed import Feed

MIN_HIDDEN = 50
"""Fewer hidden listings are no burst, even if they are a large share of their feed: the feed may be small."""


def is_burst(hidden: int, displayed: int, feed: Feed) -> bool:
    """Return True if a feed hid so many listings within an hour that their removals must wait for an operator.

    `hidden` is the number of these listings, `displayed` the number of listings that the feed still displays. They are
    a burst if `hidden` is at least `MIN_HIDDEN` and more than the share `feed.removal_freeze_share` of both numbers
    together.
    """
    return hidden >= MIN_HIDDEN and hidden > feed.removal_freeze_share * (displayed + hidden)
