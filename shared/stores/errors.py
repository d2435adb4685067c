"""The errors of stores that are not the caller's fault."""


class StoreUnavailable(Exception):
    """Raised if MongoDB or object storage could not be reached, or refused to work. The same call may succeed later."""


class Contention(Exception):
    """Raised if others wrote the same record before each attempt to write it, until no attempt was left.

    The store works, and the change is not written. Consumers and loops try the same work again after a pause, HTTP
    routes answer 503, and `imagectl` shows the message and ends.
    """
