"""The exceptions that stores raise through no fault of the caller."""

from collections.abc import Collection


class StoreUnavailable(Exception):
    """Raised if MongoDB or object storage did not answer, or answered with an error. The call may succeed later."""


class Contention(Exception):
    """Raised if each attempt to write a record was refused, because others had written the record since it was read.

    The store works, and the change is not written. Consumers and loops try the same work again after a pause, HTTP
    routes answer 503, and `imagectl` shows the message and ends.
    """


class ListingsUnwritable(Exception):
    """Raised if some of the listings that were to be written are too large for the store.

    The listings that are too large are quarantined, and the others are written. `refused` has the ids (feed and
    ListingKey) of all listings that were not written: those that are too large, and those that others have written
    since they were read.
    """

    def __init__(self, message: str, refused: Collection[tuple[str, str]]) -> None:
        super().__init__(message)
        self.refused = refused
