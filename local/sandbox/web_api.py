"""The RESO Web API of the sandbox, as a vendor's rules say: resources, pages, links, errors and tokens."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import cast
from urllib.parse import urlencode

from aiohttp import web

from local.sandbox import odata, query_rules
from local.sandbox.access import Gate
from local.sandbox.faults import Faults, cut
from local.sandbox.market import Record, SandboxListing
from local.sandbox.odata import BadQuery
from local.sandbox.quotas import Meter
from local.sandbox.records import VendorRecords
from local.sandbox.replication import Cursors, by_skip_token
from local.sandbox.vendors.rules import VendorRules

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MASTER_FIELDS = "ListingKey,ModificationTimestamp"
_MADE_AT = "$made"
"""The query option in which a next link has the time when it was made, for vendors whose links work for a time only."""


class WebApi:
    """Answers the requests to the Web API of the emulated vendor.

    `url` is the root URL of the server, which sets it at its start. `refused` counts the refused requests by rule.
    `vendor` has the vendor's rules, and may be replaced while the server runs.
    """

    def __init__(self, vendor: VendorRules, records: VendorRecords, gate: Gate, meter: Meter, faults: Faults) -> None:
        self.vendor, self._records, self._gate, self._meter, self._faults = vendor, records, gate, meter, faults
        self._cursors = Cursors(vendor.replication, gate.clock)
        self.url = self.other_url = ""
        self.refused: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the vendor's resources, of its replication, and of its token endpoint."""
        root, routes = self.vendor.root, []
        replication = self.vendor.replication
        if replication.kind in {"cursor", "link-header"}:
            routes.append(web.get(f"{root}/{replication.path}", self._replication))
        if replication.kind == "master-list":
            routes += [web.get(f"{root}/{path}", self._master_list) for path in _spellings(replication.path)]
        if self.vendor.access.token_path:
            routes.append(web.post(self.vendor.access.token_path, self._gate.issue))
        if self.vendor.media.has_subresource:
            routes.append(web.get(f"{root}/Property('{{key}}')/Media", self._media_of))
        if self.vendor.media.has_resource:
            routes.append(web.get(f"{root}/Media", self._media))
        return [
            *routes,
            web.get(f"{root}/Property", self._properties),
            web.get(f"{root}/Property('{{key}}')", self._property),
            web.get(f"{root}/{{resource:.*}}", self._nothing),
        ]

    def handles(self, path: str) -> bool:
        """Return True if `path`, the path of a request's URL, belongs to the Web API: it is below the vendor's root."""
        return path.startswith(f"{self.vendor.root}/")

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request to the Web API: with what `handler` returns, with a refusal, or with an active fault."""
        fault = None
        try:
            self._admit(request)
            fault = await self._faults.apply("odata")
            if fault is not None and (instead := fault.answer()) is not None:
                return instead
            response = await self._answered(request, handler)
        except BadQuery as error:
            response = self._refusal(error)
        if fault is not None and fault.kind == "truncated" and isinstance(response.body, bytes):
            return await cut(request, response.body, "application/json")
        self._meter.count_bytes("api", len(cast("bytes", response.body or b"")))
        response.headers.update(self._meter.headers("api"))
        if "gzip" in request.headers.get("Accept-Encoding", ""):  # aiohttp would choose deflate
            response.enable_compression(web.ContentCoding.gzip)
        return response

    def _admit(self, request: web.Request) -> None:
        self._gate.check(request)
        if not self._meter.admit("api"):
            raise BadQuery("too many requests", 429, rule="quota")

    async def _answered(self, request: web.Request, handler: Handler) -> web.Response:
        try:
            return cast("web.Response", await handler(request))
        except KeyError as missing:
            raise BadQuery(str(missing.args[0]), 404, rule="missing") from None

    def _refusal(self, error: BadQuery) -> web.Response:
        self.refused[error.rule] += 1
        rules, code = self.vendor.errors, error.code or str(error.status)
        if rules.envelope == "spark":
            number = rules.codes.get(error.rule, error.status)
            body: Record = {"D": {"Success": False, "Code": number, "Message": str(error)}}
        else:
            number_or_text = int(code) if rules.envelope == "odata-number" else code
            body = {"error": {"code": number_or_text, "message": str(error)}}
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        if error.status == 429 and self.vendor.limits.retry_after:
            headers["Retry-After"] = "60"
        return web.json_response(body, status=error.status, headers=headers)

    # Resources

    async def _properties(self, request: web.Request) -> web.Response:
        query = self._options(request)
        if "$skiptoken" in query:
            return self._by_skip_token(request, query)
        pairs = self._pairs()
        shown = self._shown(query)
        known = self._known()
        read = query_rules.read_filter(self.vendor, query.get("$filter", ""), known, is_property=True)
        query_rules.check_order(self.vendor, query.get("$orderby", ""), known)
        limits = query_rules.page_limits(self.vendor, query)
        chosen, following = odata.page([record for record, _ in pairs], query, limits, read.test)
        listings = {id(record): listing for record, listing in pairs}
        rows = [shown(record, listings[id(record)]) for record in chosen]
        return self._page(request, rows, following, has_link=self.vendor.paging.has_link)

    def _by_skip_token(self, request: web.Request, query: Mapping[str, str]) -> web.Response:
        shown, pairs = self._shown(query), self._pairs()
        limits = query_rules.page_limits(self.vendor, query)
        top = query.get("$top", str(limits.most))
        if not top.isdecimal() or int(top) > limits.most:
            raise BadQuery(f"$top is {top!r}; it must be a whole number up to {limits.most}", rule="top")
        chosen, token = by_skip_token([record for record, _ in pairs], query, int(top))
        listings = {id(record): listing for record, listing in pairs}
        answer: Record = {"value": [shown(record, listings[id(record)]) for record in chosen]}
        if token is not None:
            answer["@odata.nextLink"] = self._link(request, {**query, "$skiptoken": token})
        return web.json_response(answer)

    async def _property(self, request: web.Request) -> web.Response:
        listing = self._records.find(request.match_info["key"])
        return web.json_response(self._shown(self._options(request))(self._records.bare(listing), listing))

    async def _nothing(self, request: web.Request) -> web.Response:
        raise KeyError(f"there is no resource {request.match_info['resource']}")

    async def _media(self, request: web.Request) -> web.Response:
        query = self._options(request)
        rows = [row for listing in self._records.listings() for row in self._records.media(listing)]
        known = set().union(*rows[:50]) if rows else set()
        read = query_rules.read_filter(self.vendor, query.get("$filter", ""), known, is_property=False)
        limits = query_rules.page_limits(self.vendor, query)
        chosen, following = odata.page(rows, query, limits, read.test)
        shown = [odata.selected(row, query.get("$select", "")) for row in chosen]
        return self._page(request, shown, following, has_link=self.vendor.paging.media_has_link)

    async def _media_of(self, request: web.Request) -> web.Response:
        listing = self._records.find(request.match_info["key"])
        return web.json_response({"value": self._records.media(listing)})

    async def _replication(self, request: web.Request) -> web.Response:
        query = self._options(request)
        if name := query.get("id"):
            rows = self._cursors.next(name)
        else:
            rows, name = self._cursors.start(self._replicated(query), query)
        link = f"{self.url}{request.path}?id={name}"
        if self.vendor.replication.kind == "link-header":
            headers = {"Link": f'<{link}>; rel="next"'} if self._cursors.has_more(name) else {}
            return web.json_response({"value": rows}, headers=headers)
        return web.json_response({"value": rows, **({"@odata.nextLink": link} if rows else {})})

    def _replicated(self, query: Mapping[str, str]) -> list[Record]:
        shown = self._shown(query)
        read = query_rules.read_filter(self.vendor, query.get("$filter", ""), self._known(), is_property=True)
        pairs = [(record, listing) for record, listing in self._pairs() if read.test(record)]
        pairs.sort(key=lambda pair: str(pair[0]["ModificationTimestamp"]))
        return [shown(record, listing) for record, listing in pairs]

    async def _master_list(self, request: web.Request) -> web.Response:
        query = self._options(request)
        if "$top" in query or "$skip" in query:
            raise BadQuery("$top and $skip are not supported here", rule="replication")
        records = [record for record, _ in self._pairs()]
        read = query_rules.read_filter(self.vendor, query.get("$filter", ""), self._known(), is_property=True)
        limits = odata.PageLimits(len(records) + 1, len(records) + 1)
        chosen, _ = odata.page(records, query, limits, read.test)
        return web.json_response({"value": [odata.selected(record, _MASTER_FIELDS) for record in chosen]})

    # Parts of the answers above

    def _options(self, request: web.Request) -> dict[str, str]:
        query = {name: value for name, value in request.query.items() if name != _MADE_AT}
        made_at, life = request.query.get(_MADE_AT), self.vendor.paging.link_seconds
        if made_at and self._gate.clock().timestamp() - float(made_at) > life:
            raise BadQuery("the next link is stale; send the query again", rule="stale-link")
        return query

    def _pairs(self) -> list[tuple[Record, SandboxListing]]:
        return [(self._records.bare(listing), listing) for listing in self._records.listings()]

    def _known(self) -> set[str]:
        return {name for record, _ in self._pairs()[:1] for name in record} | {"Media"}

    def _shown(self, query: Mapping[str, str]) -> Callable[[Record, SandboxListing], Record]:
        """Return a function for the records of an answer to `query`, the options of a query by name.

        The function takes a Property record without Media rows and its listing. It returns the record with the fields
        and Media rows that the query asks for. Raises BadQuery if the vendor refuses `$expand` or `$select`.
        """
        most = query_rules.wants_media(self.vendor, query.get("$expand", ""))
        select = query.get("$select", "")
        query_rules.check_select(self.vendor, select, self._known())
        names = {name.strip() for name in select.split(",")}
        is_broken = bool(select) and self.vendor.query.media_url_needs_key and "ListingKey" not in names
        has_media = most is not None and (not select or bool(query.get("$expand")) or "Media" in names)

        def shown(record: Record, listing: SandboxListing) -> Record:
            chosen = odata.selected(record, select)
            if not has_media:
                return chosen
            rows = self._records.media(listing, is_broken=is_broken)
            cut_rows = rows[:most] if most else rows
            return chosen | {"Media": None if not rows and self.vendor.media.null_if_none else cut_rows}

        return shown

    def _page(self, request: web.Request, rows: list[Record], following: int | None, *, has_link: bool) -> web.Response:
        answer: Record = {"value": rows}
        if following is not None and has_link:
            answer["@odata.nextLink"] = self._link(request, {**request.query, "$skip": str(following)})
        return web.json_response(answer)

    def _link(self, request: web.Request, query: Mapping[str, str]) -> str:
        stamped = dict(query)
        if self.vendor.paging.link_seconds:
            stamped[_MADE_AT] = str(self._gate.clock().timestamp())
        host = self.other_url if self.vendor.paging.link_host == "other" else self.url
        return f"{host}{request.path}?{urlencode(stamped)}"


def _spellings(path: str) -> list[str]:
    return [path, path.removesuffix("()")]
