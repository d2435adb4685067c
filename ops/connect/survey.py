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
"""The failures that end a survey, because other queries would fail too."""


class QueryAnswer(Protocol):
    """One page of an API's answer to an OData query."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of the page: records of the resource that was asked for."""

    @property
    def next_link(self) -> object:
        """The answer's `@odata.nextLink`, the URL of the next page; None if the answer has none."""


class Asks(Protocol):
    """Sends queries to the API of an MLS; the survey uses no more of the MLS's client."""

    async def page(self, resource: str, options: Mapping[str, str]) -> QueryAnswer:
        """Return the first page that the API answers to a query of `resource`, such as `Property`.

        `options` maps OData query options, such as `$top`, to their values. Raises MlsUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The result of a survey: the findings, and the sampled property records, with their Media rows if any came."""

    findings: Findings
    records: Sequence[Mapping[str, Any]]


async def survey(client: Asks) -> Surveyed:
    """Ask an API what it can do, and return the findings and the sampled records.

    Raises MlsUnavailable if the API refuses the token or the plainest query, or does not answer.
    """
    await client.page("Property", {"$top": "1"})
    findings = await _paging(client, Findings())
    top = str(min(_SAMPLE, findings.page_rows or _SAMPLE))
    plain = (await client.page("Property", {"$top": top})).rows
    findings, records = await _photos(client, findings, plain)
    findings = await _operators(client, findings, plain)
    findings = findings.updated(sample.read(records, plain, findings))
    return Surveyed(await _second_look(client, findings, records), records)


async def _try(client: Asks, resource: str, options: Mapping[str, str]) -> QueryAnswer | None:
    """Return the answer to a query; None if the API refuses this query.

    Raises MlsUnavailable if other queries would fail too: the token is refused, or the API is throttled or away.
    """
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
    """Return YES if the API cut a page without naming a next page, although more rows follow; else NO.

    `findings` has the facts about the page. Returns NOT_ASKED if the API refuses the query for the rows that follow.
    """
    if findings.next_link == YES or findings.rows_given == findings.page_rows:
        return NO
    after = await _try(client, "Property", {"$top": "1", "$skip": str(findings.rows_given)})
    return NOT_ASKED if after is None else YES if after.rows else NO


async def _photos(
    client: Asks, findings: Findings, plain: Sequence[Mapping[str, Any]]
) -> tuple[Findings, Sequence[Mapping[str, Any]]]:
    """Find out how the Media rows of records can be asked for; return the findings, and records with their Media rows.

    The ways are: no `$expand`, `$expand=Media`, and the resource Media; the first that works gives the rows. If none
    works, the records lack Media rows. `plain` are records that were asked for without `$expand`.
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
    """Ask for the sampled records again, and add to the findings whether their MediaURLs have changed.

    `records` are the sampled records of the first answer.
    """
    if findings.expand == NO:
        return replace(findings, urls_change=NOT_ASKED)
    options = {"$top": str(min(_SAMPLE, findings.page_rows or _SAMPLE))}
    again = await _try(client, "Property", options | ({"$expand": "Media"} if findings.expand == "on request" else {}))
    if again is None:
        return findings
    before, after = ([row for record in page for row in sample.rows_of(record)] for page in (records, again.rows))
    return replace(findings, urls_change=sample.has_changed_urls(before, after))
