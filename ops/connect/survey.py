"""Asks an MLS's API what it can do, with few requests, and reads a sample of its records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ops.connect import sample
from ops.connect.findings import NO, NOT_ASKED, YES, Findings
from shared.reso.errors import MlsFailure, MlsUnavailable

_TOPS = (1_000, 500, 200, 100, 50, 25, 10)
_SAMPLE, _FEW = 25, 5
_LONG_AGO = "2000-01-01T00:00:00Z"
_ENDS = frozenset({MlsFailure.REFUSED, MlsFailure.UNREACHABLE, MlsFailure.THROTTLED, MlsFailure.TIMEOUT})
"""The failures after which no further survey makes sense."""


class QueryAnswer(Protocol):
    """One page of an OData answer."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of the page."""

    @property
    def next_link(self) -> object:
        """Where the next page is; None on the last page."""


class Asks(Protocol):
    """Sends queries to the API of an MLS."""

    async def page(self, resource: str, options: Mapping[str, str]) -> QueryAnswer:
        """Return the first page of a resource for OData query options by name. Raises MlsUnavailable."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The result of a survey: the facts, and the records of the sample with their Media rows."""

    findings: Findings
    records: Sequence[Mapping[str, Any]]


async def survey(client: Asks) -> Surveyed:
    """Ask an API what it can do; raises MlsUnavailable if it refuses the token or the plainest query, or is away."""
    await client.page("Property", {"$top": "1"})
    findings = await _paging(client, Findings())
    top = str(min(_SAMPLE, findings.page_rows or _SAMPLE))
    plain = (await client.page("Property", {"$top": top})).rows
    findings, records = await _photos(client, findings, plain)
    findings = await _operators(client, findings, plain)
    findings = findings.updated(sample.read(records, plain, findings))
    return Surveyed(await _second_look(client, findings, records), records)


async def _try(client: Asks, resource: str, options: Mapping[str, str]) -> QueryAnswer | None:
    """Return the answer to a query; None if the API refuses it. Raises MlsUnavailable if it answers no query now."""
    try:
        return await client.page(resource, options)
    except MlsUnavailable as error:
        if error.failure in _ENDS:
            raise
        return None


async def _paging(client: Asks, findings: Findings) -> Findings:
    for top in _TOPS:
        if page := await _try(client, "Property", {"$top": str(top)}):
            link = YES if page.next_link is not None else NO
            findings = replace(findings, page_rows=top, rows_given=len(page.rows), next_link=link)
            return replace(findings, cuts_in_silence=await _cuts_in_silence(client, findings))
    return findings


async def _cuts_in_silence(client: Asks, findings: Findings) -> str:
    """Return YES if rows follow a page that was shorter than asked for and named no next page; NO if none do."""
    if findings.next_link == YES or findings.rows_given == findings.page_rows:
        return NO
    after = await _try(client, "Property", {"$top": "1", "$skip": str(findings.rows_given)})
    return NOT_ASKED if after is None else YES if after.rows else NO


async def _photos(
    client: Asks, findings: Findings, plain: Sequence[Mapping[str, Any]]
) -> tuple[Findings, Sequence[Mapping[str, Any]]]:
    """Ask for records with their Media rows, in the first way that works, and for the resource Media.

    `plain` are records as they come without `$expand`.
    """
    expanded = await _try(client, "Property", {"$top": str(max(1, len(plain))), "$expand": "Media"})
    media = await _try(client, "Media", {"$top": "1"})
    findings = replace(findings, media_resource=YES if media else NO)
    if any("Media" in record for record in plain):
        return replace(findings, expand="always"), plain
    if expanded and any("Media" in record for record in expanded.rows):
        return replace(findings, expand="on request"), expanded.rows
    findings = replace(findings, expand=NO)
    if not media:
        return findings, plain
    return findings, [await _with_rows_beside(client, record) for record in plain[:_FEW]]


async def _with_rows_beside(client: Asks, record: Mapping[str, Any]) -> Mapping[str, Any]:
    key = str(record.get("ListingKey", "")).replace("'", "''")
    page = await _try(client, "Media", {"$filter": f"ResourceRecordKey eq '{key}'", "$top": "100"})
    return {**record, "Media": list(page.rows)} if page else record


async def _operators(client: Asks, findings: Findings, records: Sequence[Mapping[str, Any]]) -> Findings:
    keys = [str(record["ListingKey"]).replace("'", "''") for record in records[:2] if record.get("ListingKey")]
    if not keys:
        return findings
    listed = ",".join(f"'{key}'" for key in keys)
    some = {"$select": "ListingKey", "$top": "2"}
    by_in = await _try(client, "Property", {**some, "$filter": f"ListingKey in ({listed})"})
    after = await _try(client, "Property", {**some, "$filter": f"ListingKey gt '{keys[0]}'"})
    sorting = NO
    for name, fields in (("timestamp and key", ",ListingKey"), ("timestamp", "")):
        changed = {"$filter": f"ModificationTimestamp ge {_LONG_AGO}", "$orderby": f"ModificationTimestamp{fields}"}
        if sorting == NO and await _try(client, "Property", {"$top": "2", **changed}):
            sorting = name
    return replace(
        findings,
        operator_in=YES if by_in and len(by_in.rows) == len(keys) else NO,
        key_after=YES if after else NO,
        sorting=sorting,
    )


async def _second_look(client: Asks, findings: Findings, records: Sequence[Mapping[str, Any]]) -> Findings:
    """Read the first record with photos again, and compare its MediaURLs."""
    if findings.expand == NO:
        return replace(findings, urls_change=NOT_ASKED)
    options = {"$top": str(min(_SAMPLE, findings.page_rows or _SAMPLE))}
    again = await _try(client, "Property", options | ({"$expand": "Media"} if findings.expand == "on request" else {}))
    if again is None:
        return findings
    before, after = ([row for record in page for row in sample.rows_of(record)] for page in (records, again.rows))
    return replace(findings, urls_change=sample.has_changed_urls(before, after))
