"""What can go wrong with a store that is not the caller's fault."""


class StoreUnavailable(Exception):
    """A store could not be reached or refused to work; the same call may succeed later."""
