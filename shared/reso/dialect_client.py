"""Queries one feed's MLS in the MLS's own dialect of OData, which is learned from what the MLS refuses."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace

from shared import log
from shared.reso import dialect as dialects
from shared.reso.dialect import Dialect, Query
from shared.reso.odata import MlsClient, MlsFailure, MlsUnavailable, ODataPage, Row
from shared.reso.queries import PagedQuery

_logger = log.get(__name__)


class DialectClient:
    """Queries the RESO Web API of one feed's MLS, and remembers in memory what the MLS refused.

    Each method that sends a request raises MlsUnavailable if the MLS gives no usable answer. `aclose` must be called at
    the end.
    """

    def __init__(self, feed: str, client: MlsClient) -> None:
        self._feed = feed
        self._client = client
        self.dialect = Dialect()
        """What the MLS accepts, as far as it is known."""

    async def aclose(self) -> None:
        """Close all connections to the MLS; the client must not be used afterwards."""
        await self._client.aclose()

    async def all_pages(self, query: PagedQuery) -> AsyncIterator[Sequence[Row]]:
        """Yield all rows that a query asks for, page by page, and each row once; a yielded page may be empty.

        Pages are requested until the MLS has no more rows. A short page, or a page without a next link, is not taken
        for the last page, because an MLS may leave out rows without saying so. Raises MlsUnavailable if the MLS gives
        no usable answer; its `failure` is INCOMPLETE if the MLS gives the same rows again and again.
        """
        seen, last, read, counts_pages = set[str](), None, 0, False
        while True:
            page = await self.first_page(
                query.resource,
                lambda dialect, last=last, read=read, counted=counts_pages: query.options(  # type: ignore[misc]
                    replace(dialect, pages_by_key=dialect.pages_by_key and not counted), last, read
                ),
            )
            before, known = read, len(seen)
            async for following in self.chain(page):
                rows = [row for row in following.rows if query.row_id(row) not in seen]
                seen |= {query.row_id(row) for row in rows}
                read += len(following.rows)
                last = following.rows[-1] if following.rows else last
                counts_pages = counts_pages or not query.in_order(following.rows)
                yield rows
            if read == before:
                return
            if len(seen) == known:
                if counts_pages:
                    raise MlsUnavailable(MlsFailure.INCOMPLETE, "the MLS gives the same rows again and again")
                counts_pages = True

    async def chain(self, page: ODataPage) -> AsyncIterator[ODataPage]:
        """Yield the given page, then request and yield the pages that its next links lead to, at most 101 in all.

        Raises MlsUnavailable.
        """
        async for following in self._client.following(page):
            yield following

    async def first_page(self, resource: str, query: Query) -> ODataPage:
        """Request and return the first page of a resource, such as Property, for a query in the MLS's dialect.

        If the MLS refuses the query in the dialect that is known so far, plainer forms of the query are tried. The
        dialect of the first form that the MLS accepts is remembered. If the MLS refuses all forms, its first
        MlsUnavailable is raised.
        """
        options = query(self.dialect)
        try:
            page = await self._client.page(resource, options)
        except MlsUnavailable as refusal:
            if refusal.failure is MlsFailure.MLS_ERROR and " in (" in options.get("$filter", ""):
                candidates = [replace(self.dialect, has_in=False)]  # some servers answer an unknown operator with 500
            elif refusal.failure is MlsFailure.BAD_QUERY:
                candidates = list(dialects.relaxed(self.dialect))
            else:
                raise
            found = await self._first_accepted(resource, query, candidates)
            if not found and refusal.failure is MlsFailure.BAD_QUERY:
                found = await self._combined(resource, query)
            if not found:
                raise
            self._learn(found[0])
            page = found[1]
        return page

    async def _first_accepted(
        self, resource: str, query: Query, candidates: Sequence[Dialect]
    ) -> tuple[Dialect, ODataPage] | None:
        """Send the query in one candidate dialect after the other, until the MLS accepts it.

        Returns the accepted dialect and the first page; None if the MLS refuses all. A form of the query that was tried
        already is not sent again.
        """
        tried = [query(self.dialect)]
        for candidate in candidates:
            options = query(candidate)
            if options not in tried:
                tried.append(options)
                if page := await self._if_accepted(resource, query, candidate):
                    return candidate, page
        return None

    async def _combined(self, resource: str, query: Query) -> tuple[Dialect, ODataPage] | None:
        """Find a dialect in which the MLS accepts the query; return the dialect and the first page.

        Called if the MLS refused all dialects that differ in one fact. The plainest query is sent first. Then one fact
        of the dialect after the other is put back, and stays if the MLS accepts the query. Returns None if the MLS
        refuses the plainest query too.
        """
        plainest = [
            replace(dialects.PLAINEST, quotes_keys=is_quoted, quotes_owners=is_quoted) for is_quoted in (True, False)
        ]
        found = await self._first_accepted(resource, query, plainest)
        if found is None:
            return None
        accepted, page = found
        for name in (field.name for field in fields(Dialect) if not field.name.startswith("quotes")):
            for candidate in dialects.restorations(accepted, self.dialect, name):
                if query(candidate) == query(accepted):
                    accepted = candidate
                    break
                if better := await self._if_accepted(resource, query, candidate):
                    accepted, page = candidate, better
                    break
        return accepted, page

    async def _if_accepted(self, resource: str, query: Query, dialect: Dialect) -> ODataPage | None:
        """Return the first page of the query in the given dialect; None if the MLS refuses the query.

        An error of the MLS itself (MLS_ERROR) counts as a refusal. Raises MlsUnavailable for any other failure.
        """
        try:
            return await self._client.page(resource, query(dialect))
        except MlsUnavailable as refusal:
            if refusal.failure not in (MlsFailure.BAD_QUERY, MlsFailure.MLS_ERROR):
                raise
            return None

    def _learn(self, dialect: Dialect) -> None:
        refused = [
            field.name for field in fields(Dialect) if getattr(dialect, field.name) != getattr(self.dialect, field.name)
        ]
        _logger.info("mls-dialect-learned", feed=self._feed, changed=", ".join(refused))
        self.dialect = dialect
