"""The errors of stores that are not the caller's fault."""

from collections.abc import Collection


class StoreUnavailable(Exception):
    """Raised if MongoDB or object storage could not be reached, or refused to work. The same call may succeed later."""


class Contention(Exception):
    """Raised if others wrote the same record before each attempt to write it, until no attempt was left.

    The store works, and the change is not written. Consumers and loops try the same work again after a pause, HTTP
    routes answer 503, and `imagectl` shows the message and ends.
    """


class ListingsUnwritable(Exception):
    """Raised if the store can never take some of the listings that were to be written, because they are too large.

    Those are quarantined, and the others are written. `refused` has the ids, feed and ListingKey, of all listings that
    were not written: those that are quarantined, and those that others have written since they were read.
    """

    def __init__(self, message: str, refused: Collection[tuple[str, str]]) -> None:
        super().__init__(message)
        self.refused = refused
