"""An MLS in memory that speaks a dialect of OData: it refuses, cuts or ignores parts of a query, as real ones do."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from local.sandbox.odata import BadQuery, page, parse_filter
from shared.domain.feed import Feed
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsClient, MlsFailure, MlsUnavailable, ODataPage
from tests.builders import a_feed

Options = Mapping[str, str]


@dataclass(kw_only=True)
class Dialect:
    """What an MLS does with a query; the defaults are those of the OData standard, with any page size."""

    max_top: int = 100_000
    refuses_top: bool = False
    """True if a larger `$top` is refused, False if the answer is cut."""
    has_links: bool = False
    """True if a page that is not the last has a next link."""
    in_failure: MlsFailure | None = None
    """What the operator `in` is answered with; None if it works."""
    max_or: int = 1_000
    sorts: bool = True
    ignores_order: bool = False
    filters: frozenset[str] | None = None
    """The fields that a filter may name; None for all."""
    has_numeric_keys: bool = False
    expands: bool = True
    max_expanded: int = 100_000
    """How many Media rows come with a record."""
    has_media: bool = True
    spaces: bool = True
    """True if a StandardStatus has spaces."""
    statuses_are_encoded: bool = False
    """True if a StandardStatus of several words is only known as `b__` and Base64."""
    selects: bool = True
    ignores_skip: bool = False
    ignores_after_in: bool = False
    """True if a condition after `in (…)` is ignored."""


@dataclass
class DialectMls:
    """The MLS: `records` are its property records by ListingKey, with all their Media; `queries` has what was asked."""

    records: dict[str, dict[str, Any]]
    dialect: Dialect = field(default_factory=Dialect)
    queries: list[tuple[str, Options]] = field(default_factory=list)

    def reader(self, feed: Feed | None = None) -> FeedReader:
        """Return a reader of this MLS."""
        return FeedReader(feed or a_feed(reso_url="https://mls.example.com/odata"), cast("MlsClient", self))

    async def aclose(self) -> None:
        """Do nothing."""

    async def page(self, resource: str, options: Options) -> ODataPage:
        """Answer a query as the dialect says. Raises MlsUnavailable for what it refuses."""
        self.queries.append((resource, options))
        try:
            return self._page(resource, options)
        except BadQuery as error:
            raise MlsUnavailable(MlsFailure.BAD_QUERY, f"the MLS answered 400: {error}") from None

    async def following(self, first: ODataPage) -> AsyncIterator[ODataPage]:
        """Yield a page and those that its next links lead to."""
        yield first
        while first.next_link:
            first = await self.page(first.next_link.path.strip("/"), dict(first.next_link.params))
            yield first

    def _page(self, resource: str, options: Options) -> ODataPage:
        self._refuse(resource, options)
        rules, expands = self.dialect, "$expand" in options
        options = {name: text for name, text in options.items() if not (name == "$skip" and rules.ignores_skip)}
        if token := options.pop("$skiptoken", ""):
            options["$skip"] = token
        if rules.ignores_order:
            options.pop("$orderby", None)
        if rules.ignores_after_in and " in (" in options.get("$filter", ""):
            options["$filter"] = re.sub(r"( in \([^)]*\)).*", r"\1", options["$filter"])
        asked = int(options.get("$top", "100"))
        options["$top"] = str(min(asked, rules.max_top, 1_000))
        rows, skip = page(self._rows(resource), options)
        link = None
        if skip and rules.has_links:
            options.pop("$skip", None)
            link = httpx.URL(f"https://x/{resource}", params={**options, "$skiptoken": str(skip)})
        return ODataPage([self._shown(row, expands) for row in rows], link)

    def _rows(self, resource: str) -> list[dict[str, Any]]:
        if resource == "Property":
            return list(self.records.values())
        return [
            {**row, "ResourceRecordKey": record["ListingKey"], "ResourceName": "Property"}
            for record in self.records.values()
            for row in record["Media"]
        ]

    def _shown(self, row: dict[str, Any], expands: bool) -> dict[str, Any]:
        if "Media" not in row:
            return row
        bare = {name: value for name, value in row.items() if name != "Media"}
        return {**bare, "Media": row["Media"][: self.dialect.max_expanded]} if expands else bare

    def _refuse(self, resource: str, options: Options) -> None:
        rules, condition = self.dialect, options.get("$filter", "")
        if resource == "Media" and not rules.has_media:
            raise MlsUnavailable(MlsFailure.NO_RESOURCE, "the MLS answered 404")
        if rules.in_failure and " in (" in condition:
            raise MlsUnavailable(rules.in_failure, "the operator is not implemented")
        if rules.has_numeric_keys and re.search(r"(ListingKey|ResourceRecordKey) (eq|gt|in) \(?'", condition):
            raise BadQuery("the type is Edm.Int64")
        named = set(re.findall(r"\b([A-Z]\w+) (?:eq|gt|ge|lt|in)\b", condition))
        checks = {
            "$top": rules.refuses_top and int(options.get("$top", "0")) > rules.max_top,
            "or": condition.count(" or ") > rules.max_or,
            "$orderby": not rules.sorts and "$orderby" in options,
            "a field": rules.filters is not None and not named <= rules.filters,
            "$expand": not rules.expands and "$expand" in options,
            "$select": not rules.selects and "$select" in options,
            "a status": not rules.spaces and "Under Contract" in condition,
            "a spelling": rules.statuses_are_encoded and "UnderContract" in condition,
        }
        if refused := [name for name, is_refused in checks.items() if is_refused]:
            raise BadQuery(f"{refused[0]} is refused")
        parse_filter(condition or "A eq 1")


def a_market(count: int, photos: int = 2, *, numeric: bool = False) -> dict[str, dict[str, Any]]:
    """Return as many active listings with photos each, by ListingKey, all changed at one time but every tenth."""
    keys = [1_000 + number if numeric else f"X{number:04}" for number in range(count)]
    return {
        str(key): {
            "ListingKey": key,
            "StandardStatus": "Active",
            "ModificationTimestamp": f"2026-11-20T15:02:{10 if number % 10 else 33}.000Z",
            "PhotosChangeTimestamp": "2026-11-20T15:02:33.000Z",
            "PhotosCount": photos,
            "Media": [
                {"MediaKey": f"{key}-{photo:03}", "Order": photo, "MediaURL": f"https://p.example.com/{key}/{photo}"}
                for photo in range(photos)
            ],
        }
        for number, key in enumerate(keys)
    }
