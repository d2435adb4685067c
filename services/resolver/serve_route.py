"""The route `/api/images/serve`: redirects to the public URL of a photo's copy, or sends a placeholder."""

from collections.abc import Sequence
from typing import NoReturn

from aiohttp import web

from services.resolver import answers, decide, request_parsing
from services.resolver.answer_cache import AnswerCache
from services.resolver.decide import Absence, Absent
from services.resolver.lookups import PhotoLookup
from services.resolver.models import ServeQuery
from services.resolver.wait_estimates import WaitEstimates
from services.resolver.waiters import PhotoState, Waiters
from shared.clock import Clock
from shared.domain.image import Copy, url_key
from shared.http_api.answers import refuse
from shared.render import Renderer

_PATH = "/api/images/serve"
_UNKNOWN = "no displayed listing shows this image"


class ServeRoute:
    """Answers requests for one photo, by image id or MLS URL, with a redirect to its copy or with a placeholder.

    `variants` are the names of the configured variants; `wait_seconds` is how long a request waits for a download.
    """

    def __init__(
        self,
        cache: AnswerCache,
        waiters: Waiters,
        estimates: WaitEstimates,
        renderer: Renderer,
        variants: Sequence[str],
        wait_seconds: float,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._waiters = waiters
        self._estimates = estimates
        self._renderer = renderer
        self._variants = variants
        self._wait_seconds = wait_seconds
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the route `/api/images/serve` to add to the application."""
        return [web.get(_PATH, self.serve)]

    async def serve(self, request: web.Request) -> web.Response:
        """Redirect to a photo's copy; if the photo has none, wait for its download first, up to `wait_seconds`.

        A photo that still has no copy gets a placeholder: 503 with Retry-After, or 404 if the photo is gone at the
        origin. Raises ProblemFound (404) if no displayed listing shows the photo, or if there is no such variant.
        """
        query = request_parsing.query(request, ServeQuery)
        variant = query.variant or "full"
        shown = await self._cache.photo(_lookup(query))
        if shown is None:
            refuse(404, _UNKNOWN)
        state: PhotoState = decide.find_copy(shown, self._clock())
        if isinstance(state, Absent) and state.reason is not Absence.GONE:
            if variant not in self._variants:
                self._refuse_variant()
            state = await self._waiters.wait(shown, state, self._wait_seconds)
        if isinstance(state, Absent) and state.reason is not Absence.GONE:
            queue_seconds = await self._estimates.seconds(shown.feed) if state.due_at else None
            retry_after = decide.retry_after_seconds(state, queue_seconds, self._clock())
            return answers.placeholder(503, "Photo on its way", retry_after=retry_after)
        return self._settled(request, state, variant)

    def _settled(self, request: web.Request, state: PhotoState, variant_name: str) -> web.Response:
        """Return the answer for a photo without waiting for a download: a redirect to its copy, or a placeholder.

        `state` is the photo's copy, Absent if the photo is gone at the origin, or None if no displayed listing shows
        the photo. The placeholder of a photo that is gone has the status 404. Raises ProblemFound (404) if `state` is
        None, or if there is no variant `variant_name`.
        """
        if state is None:
            refuse(404, _UNKNOWN)
        if isinstance(state, Copy):
            variant = decide.find_variant(state, variant_name, self._variants)
            if variant is None:
                self._refuse_variant()
            return answers.redirect(request, self._renderer.url(variant.key))
        return answers.placeholder(404, "Photo not available")

    def _refuse_variant(self) -> NoReturn:
        refuse(404, f"there is no such variant; there is {', '.join(self._variants)}")


def _lookup(query: ServeQuery) -> PhotoLookup:
    if query.url is not None:
        return PhotoLookup(None, url_key(query.url), query.listing)
    return PhotoLookup(query.id)
