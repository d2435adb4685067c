"""Checks queries by the emulated vendor's rules: which fields, operators, orders and page sizes its API refuses."""

import re
from collections.abc import Collection, Iterable, Mapping

from local.sandbox import odata
from local.sandbox.odata import BadQuery, Filter, PageLimits
from local.sandbox.records import status
from local.sandbox.vendors.rules import Query, VendorRules

_EXPAND = re.compile(r"Media(?:\(\$top=(\d+)\))?")
_STATUSES = (
    "Active", "Active Under Contract", "Canceled", "Closed", "Coming Soon", "Delete", "Expired", "Hold", "Incomplete",
    "Pending", "Withdrawn",
)  # fmt: skip


def read_filter(vendor: VendorRules, text: str, known: Collection[str], *, is_property: bool) -> Filter:
    """Parse the text of a `$filter`, check it by the vendor's rules, and return it. An empty text matches all records.

    `known` are the names of the resource's fields. `is_property` is True for the resource Property, which has more
    rules than Media. Raises BadQuery for a filter that the vendor refuses.
    """
    rules = vendor.query
    read = Filter(lambda _: True)
    if text:
        read = odata.parse_filter(text, ignores_after_in=rules.ignores_after_in, whole_seconds=rules.whole_seconds)
    _check_known((name for name, _, _ in read.comparisons), rules, known)
    if is_property:
        _check_required(rules, read)
        _check_statuses(vendor, read)
        for name, _, _ in read.comparisons:
            if (rules.fields and name not in rules.fields) or name in rules.no_fields:
                raise BadQuery(f"$filter by {name} is not supported", rule="filter")
    for _, operator, _ in read.comparisons:
        if operator in rules.no_operators:
            raise BadQuery(f"$filter: the operator {operator} is not supported", rule="operator")
    if rules.most_or is not None and read.ors > rules.most_or:
        raise BadQuery(f"$filter has {read.ors} or; at most {rules.most_or} are allowed", rule="or")
    return read


def _check_required(rules: Query, read: Filter) -> None:
    name = rules.required_equal
    values = [value for field, operator, value in read.comparisons if (field, operator) == (name, "eq")]
    if name and (len(values) != 1 or sum(field == name for field, _, _ in read.comparisons) != 1):
        raise BadQuery(f"$filter must have exactly one {name} eq '…'", rule="required")


def _check_statuses(vendor: VendorRules, read: Filter) -> None:
    """Raise BadQuery if the filter compares StandardStatus with a text that is no status in the vendor's notation.

    A vendor whose StandardStatus is plain text, and no OData enumeration, accepts every text.
    """
    if vendor.records.statuses == "display":
        return
    known = {status(name, vendor.records.statuses) for name in _STATUSES}
    for name, _, value in read.comparisons:
        values = value if isinstance(value, list) else [value]
        if name == "StandardStatus" and not known.issuperset(map(str, values)):
            raise BadQuery(f"$filter: {value} is no member of StandardStatus", rule="status")


def check_order(vendor: VendorRules, text: str, known: Collection[str]) -> None:
    """Raise BadQuery if the vendor refuses `text`, the text of an `$orderby`. `known` are the names of all fields."""
    wanted, allowed = odata.orders(text), vendor.query.order
    _check_known((name for name, _ in wanted), vendor.query, known)
    for name, is_descending in wanted:
        if allowed is not None and (name not in allowed or is_descending):
            raise BadQuery(f"$orderby {name} is not supported", rule="order")


def check_select(vendor: VendorRules, text: str, known: Collection[str]) -> None:
    """Raise BadQuery if `text`, the text of a `$select`, names a field that is not in `known`.

    Some vendors ignore unknown fields; then nothing is raised.
    """
    _check_known(filter(None, (name.strip() for name in text.split(","))), vendor.query, known)


def _check_known(names: Iterable[str], rules: Query, known: Collection[str]) -> None:
    if rules.unknown_field_code:
        for name in names:
            if name not in known:
                raise BadQuery(f"{name} is no property of this resource", rule="select", code=rules.unknown_field_code)


def wants_media(vendor: VendorRules, expand: str) -> int | None:
    """Return how many Media rows each record of an answer has at most: 0 for no limit, None for no field Media at all.

    `expand` is the text of the query's `$expand`, "" if the query has none. Raises BadQuery if the vendor refuses it.
    """
    rules = vendor.media
    match = _EXPAND.fullmatch(expand)
    is_refused = rules.expand == "refused" or rules.refuses_expand or match is None
    if expand and is_refused:
        raise BadQuery(f"$expand={expand} is not supported", rules.expand_status, rule="expand", code=rules.expand_code)
    if not expand:
        return 0 if rules.expand == "always" else None
    nested = match[1] if match else None
    return int(nested) if nested else rules.expanded_rows or 0


def page_limits(vendor: VendorRules, query: Mapping[str, str]) -> PageLimits:
    """Return the limits of a page by the vendor's rules.

    `query` has the query's options by name: some vendors have other limits for `$expand`, or for keys alone.
    """
    rules = vendor.paging
    most = rules.most
    if query.get("$expand") and rules.most_expanded is not None:
        most = rules.most_expanded
    if query.get("$select") == "ListingKey" and rules.most_of_keys is not None:
        most = rules.most_of_keys
    return PageLimits(min(rules.default, most), most, rules.beyond == "cut", rules.most_skip)
