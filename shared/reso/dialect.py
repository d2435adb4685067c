"""Which parts of OData does an MLS accept? A dialect holds the answers, learned from the MLS's refusals. No I/O."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

MAX_KEYS = 50
"""How many records are requested by their ListingKeys at once, if the MLS accepts that many."""
_ROWS = (500, 200, 100, 50, 25, 10)
"""The page sizes that are tried in turn if a larger one is refused; known limits are 25, 100, 200 and 1,000."""
_TERMS = (25, 10, 5, 2, 1)
_STATUSES = (5, 2, 1)
_STEPS: Mapping[str, Sequence[int]] = {"max_rows": _ROWS, "max_terms": _TERMS, "max_statuses": _STATUSES}


class StatusSpelling(StrEnum):
    """How an MLS writes a StandardStatus of several words in a query."""

    SPACED = "Active Under Contract"
    COMPACT = "ActiveUnderContract"
    ENCODED = "b__QWN0aXZlIFVuZGVyIENvbnRyYWN0"
    """`b__` and the text in Base64 without padding, as Spark writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Holds what an MLS accepts in a query; the defaults are what the standards OData and RESO demand of an MLS."""

    expands: bool = True
    """True if `$expand=Media` may be asked for."""
    statuses: StatusSpelling = StatusSpelling.SPACED
    max_statuses: int = 100
    """How many statuses may be joined by `or`."""
    max_terms: int = MAX_KEYS
    """How many terms may be joined by `or`, and how many keys listed with `in`."""
    has_in: bool = True
    """True if the operator `in` may be used; False if terms with `eq` are joined by `or`."""
    quotes_keys: bool = True
    """True if ListingKeys are texts in quotes; False if they are numbers."""
    quotes_owners: bool = True
    """True if the ResourceRecordKeys of Media rows are texts in quotes; False if they are numbers."""
    max_rows: int = 1_000
    """The largest `$top` that may be asked for."""
    pages_by_key: bool = True
    """True if the rows after a key may be asked for (`gt`); False if pages are counted (`$skip`)."""
    sorts: bool = True
    """True if `$orderby` may be asked for."""
    selects: bool = True
    """True if `$select` may be asked for."""


Query = Callable[[Dialect], Mapping[str, str]]
"""A query for rows of a resource: returns the OData query options by name, as an MLS of the given dialect accepts them.

Returned options that are equal for two dialects are the same query.
"""
PLAINEST = Dialect(
    expands=False, statuses=StatusSpelling.COMPACT, max_statuses=1, max_rows=10, max_terms=1, has_in=False,
    pages_by_key=False, sorts=False, selects=False,
)  # fmt: skip
"""The dialect that asks least of an MLS."""


def relaxed(dialect: Dialect) -> Iterator[Dialect]:
    """Yield dialects to try after the MLS refused a query in `dialect`, the likeliest to be accepted first.

    Each differs from `dialect` in one fact, or in `has_in` and `max_terms` together. Some may be equal to `dialect`:
    the caller sends no query twice.
    """
    yield replace(dialect, expands=False)
    for spelling in StatusSpelling:
        yield replace(dialect, statuses=spelling)
    yield replace(dialect, has_in=False)
    for rows in _ROWS:
        yield replace(dialect, max_rows=min(rows, dialect.max_rows))
    yield replace(dialect, quotes_keys=not dialect.quotes_keys)
    yield replace(dialect, quotes_owners=not dialect.quotes_owners)
    for terms in _TERMS:
        yield replace(dialect, has_in=False, max_terms=min(terms, dialect.max_terms))
    for statuses in _STATUSES:
        yield replace(dialect, max_statuses=min(statuses, dialect.max_statuses))
    yield replace(dialect, pages_by_key=False)
    yield replace(dialect, sorts=False)
    yield replace(dialect, selects=False)


def restorations(accepted: Dialect, wanted: Dialect, name: str) -> Sequence[Dialect]:
    """Return dialects to try, each equal to `accepted` but for the field `name`.

    In the first dialect, the field has the value that it has in `wanted`. If the value is a number, dialects with
    smaller numbers follow, the largest first. The MLS accepted a query in the dialect `accepted`, and refused it in
    `wanted`.
    """
    best: Any = getattr(wanted, name)
    values = [best, *(step for step in _STEPS.get(name, ()) if step < best)]
    return [Dialect(**{**asdict(accepted), name: value}) for value in values]
