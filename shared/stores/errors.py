"""The errors of stores that are not the caller's fault."""


class StoreUnavailable(Exception):
    """A store could not be reached or refused to work; the same call may succeed later."""


class Contention(Exception):
    """Other writers changed the same record before each attempt to write. The store works; the change is not written.

    Consumers and loops try the same work again after a pause, HTTP routes answer 503, and `imagectl` shows the message
    and ends.
    """
