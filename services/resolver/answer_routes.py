"""The routes that answer with JSON about listings and photos. An answer's photos without a copy become demand."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from services.resolver import request_parsing
from services.resolver.answer_cache import AnswerCache
from services.resolver.cached_answers import CachedAnswer
from services.resolver.demand import DemandQueue
from services.resolver.lookups import ListingLookup, PhotoLookup
from services.resolver.models import Context, ListingQuery, ResolveRequest, UrlQuery
from shared.clock import Clock
from shared.domain.image import url_key
from shared.http_api import answers
from shared.http_api.answers import Body, refuse


class AnswerRoutes:
    """Answers requests for a listing's photos, for the first photos of many listings, and for photos by their MLS URLs.

    The photos of an answer that have no copy are added to `demand`, which raises their priority.
    """

    def __init__(self, cache: AnswerCache, demand: DemandQueue, clock: Clock) -> None:
        self._cache = cache
        self._demand = demand
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of this object, to add to the application.

        They are GET `/api/listings/KEY/images` (one listing), GET `/api/images/resolve` (one photo by its URL) and POST
        `/api/images/resolve` (many listings or photos).
        """
        return [
            web.get("/api/listings/{key:[^/]+}/images", self.listing),  # aiohttp's own pattern refuses braces in keys
            web.get("/api/images/resolve", self.photo_by_url),
            web.post("/api/images/resolve", self.resolve),
        ]

    async def listing(self, request: web.Request) -> web.Response:
        """Answer with the JSON of all photos of the listing that the path names, in the listing's order.

        Raises ProblemFound: 404 if no feed displays the listing, 409 if several feeds display it and the request names
        no feed.
        """
        key, query = request_parsing.listing_key(request), request_parsing.query(request, ListingQuery)
        lookup = ListingLookup(key, None)
        found = self._cache.fresh_listing(lookup)
        if found is None:
            found = (await self._cache.listings([lookup]))[lookup]
        found = _in_feed(found, query.feed)
        if not found:
            refuse(404, "no displayed listing has this key")
        if len(found) > 1:
            refuse(409, "the key is displayed in several feeds; name one with ?feed=")
        self._add_demand(found[0], query.context)
        return answers.text(request, found[0].body)

    async def resolve(self, request: web.Request) -> web.Response:
        """Answer with the JSON of the photos that the request's body names, by ListingKeys or by URLs at the MLS.

        A client sends one such request for one page of search results.
        """
        search = await request_parsing.search(request)
        body = await (self._photos_by_url(search) if search.urls else self._first_photos(search))
        return answers.text(request, Body(body))

    async def _first_photos(self, search: ResolveRequest) -> bytes:
        """Return the JSON of the first photos of the listings that `search.listing_keys` names.

        Each listing has at most `search.photos_per_listing` photos. ListingKeys that no feed displays are listed as
        `unknown`, ListingKeys that several feeds display as `ambiguous`.
        """
        lookups = [ListingLookup(key, search.photos_per_listing) for key in dict.fromkeys(search.listing_keys)]
        found = await self._cache.listings(lookups)
        displayed, unknown, ambiguous = [], [], []
        for lookup in lookups:
            match _in_feed(found[lookup], search.feed):
                case []:
                    unknown.append(lookup.listing_key)
                case [answer]:
                    self._add_demand(answer, search.context)
                    displayed.append(orjson.dumps(lookup.listing_key) + b":" + answer.body.plain)
                case _:
                    ambiguous.append(lookup.listing_key)
        return b'{"listings":{%s},"unknown":%s,"ambiguous":%s}' % (
            b",".join(displayed),
            orjson.dumps(unknown),
            orjson.dumps(ambiguous),
        )

    async def _photos_by_url(self, search: ResolveRequest) -> bytes:
        """Return the JSON of the photos that were announced under the URLs in `search.urls`, by URL.

        A URL is listed as `unknown` if no displayed listing shows a photo announced under it.
        """
        lookups = {url: PhotoLookup(None, url_key(url)) for url in search.urls}
        found = await self._cache.photo_answers(set(lookups.values()))
        images, unknown = [], []
        for url, lookup in lookups.items():
            match _in_feed(found[lookup], search.feed):
                case []:
                    unknown.append(url)
                case [answer, *_]:
                    self._add_demand(answer, search.context)
                    images.append(orjson.dumps(url) + b":" + answer.body.plain)
        return b'{"images":{%s},"unknown":%s}' % (b",".join(images), orjson.dumps(unknown))

    async def photo_by_url(self, request: web.Request) -> web.Response:
        """Answer with the JSON of the photo whose URL at the MLS is the parameter `url` of the request's query.

        For clients that know only this URL; the query may also name the listing. A photo without a copy is raised to
        priority `viewed`. Raises ProblemFound (404) if no displayed listing shows a photo announced under this URL.
        """
        query = request_parsing.query(request, UrlQuery)
        answer = await self._cache.photo_answer(PhotoLookup(None, url_key(query.url), query.listing))
        if answer is None:
            refuse(404, "no displayed listing shows a photo announced under this URL")
        self._add_demand(answer, Context.VIEW)
        return answers.text(request, answer.body)

    def _add_demand(self, answer: CachedAnswer, context: Context) -> None:
        """Queue the photos without a copy in an answer, so that they are raised to the priority of `context`.

        Called for each answer that is sent. Does nothing if all photos have a copy. Also does nothing if the answer's
        photos were queued in the last 5 s with the same or a more urgent priority.
        """
        if answer.missing_image_ids and answer.notes_demand(context.priority, self._clock()):
            self._demand.add(answer.listing_id, answer.missing_image_ids, context.priority)


def _in_feed(found: Sequence[CachedAnswer], feed: str | None) -> Sequence[CachedAnswer]:
    """Return the answers in `found` that are about listings of `feed`; all answers if `feed` is None."""
    return found if feed is None else [answer for answer in found if answer.listing_id[0] == feed]
