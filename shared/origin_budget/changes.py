"""Logs how a write of a feed's ledger changed the feed's suspensions."""

from shared import log
from shared.domain.feed import Feed
from shared.origin_budget.ledger import Ledger

_logger = log.get(__name__)


def log_change(feed: Feed, before: Ledger, after: Ledger) -> None:
    """Log whether a write of the feed's ledger throttled the feed for longer, or opened or closed its breaker.

    `before` and `after` are the ledger before and after the write. Only the worker that wrote the ledger calls this
    function, so that each change is logged once.
    """
    if after.throttled_until > before.throttled_until:
        _logger.warning("feed-throttled", feed=feed.name, reason=after.reason)
    if after.breaker and not before.breaker:
        _logger.warning("breaker-opened", feed=feed.name, reason=after.reason)
    if before.breaker and not after.breaker:
        _logger.warning("breaker-closed", feed=feed.name, was=before.breaker.reason.value)
