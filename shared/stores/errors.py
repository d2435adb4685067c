"""What can go wrong with a store that is not the caller's fault."""


class StoreUnavailable(Exception):
    """A store could not be reached or refused to work; the same call may succeed later."""


class Contention(Exception):
    """Others wrote the same record before each of our attempts. The store works, but our change is not written.

    Consumers and loops try the same work again after a pause. HTTP answers 503. `imagectl` ends with this message.
    """
