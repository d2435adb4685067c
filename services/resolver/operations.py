"""The operations of the resolver's API, from which the OpenAPI document and its HTML page are made."""

from collections.abc import Mapping

from pydantic import BaseModel

from services.resolver.models import (
    Image,
    ListingImages,
    ListingPath,
    ListingQuery,
    ResolveAnswer,
    ResolveRequest,
    ServeQuery,
    UrlQuery,
)
from shared.http_api.operations import JSON, PICTURE, PROBLEM, Api, Operation, Problem, Response

HEADERS: Mapping[str, tuple[str, str]] = {
    "ETag": ("string", "Recognises the answer; send it back as `If-None-Match`."),
    "Cache-Control": ("string", "`public, max-age=2` for answers, `no-store` for errors."),
    "Location": ("string", "The photo's public URL, which never changes its bytes."),
    "Retry-After": ("integer", "Seconds after which to ask again."),
}
"""By header: its JSON type and its description."""


def _found(when: str, model: type[BaseModel]) -> dict[int, Response]:
    validators = ("ETag", "Cache-Control")
    return {
        200: Response(when, validators, {JSON: model}),
        304: Response("The client has it already.", validators, {}),
    }


_UNREADABLE = Response("A parameter is missing, given twice, or not UTF-8.")
_TOO_LONG = Response("A parameter is longer than 8,000 characters.")
_AWAY = Response("The database does not answer.", ("Cache-Control", "Retry-After"))

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="listListingImages",
        method="get",
        path="/api/listings/{ListingKey}/images",
        summary="All photos of one listing, in order",
        about="Photos without a copy are fetched sooner: before all others for a listing's own page (`context=view`), "
        "before routine work for search results (`context=search`).",
        in_path=ListingPath,
        query=ListingQuery,
        answers={
            **_found("The photos.", ListingImages),
            400: _UNREADABLE,
            404: Response("No displayed listing has this key."),
            409: Response("The key is displayed in several feeds: name one with `feed`."),
            413: _TOO_LONG,
            422: Response("`context` has another value."),
            503: _AWAY,
        },
        try_it="/api/listings/C12000001/images",
    ),
    Operation(
        id="resolveListings",
        method="post",
        path="/api/images/resolve",
        summary="The first photos of up to 200 listings, or up to 200 photos by the MLS's own URLs",
        about="One call for one page of search results. A URL is compared exactly with those last announced, of any "
        "size of the photo; it is never fetched.",
        body=ResolveRequest,
        answers={
            **_found("The photos by listing key, or by URL.", ResolveAnswer),
            400: Response("The body is not JSON."),
            413: Response("More than 200 keys or URLs, more than 2,000 photos, or a body of more than 1 MB."),
            422: Response("The body has other fields or values than it may."),
            503: _AWAY,
        },
        try_it='/api/images/resolve --json \'{"listing_keys": ["C12000001", "W12000003"]}\'',
    ),
    Operation(
        id="resolveImageUrl",
        method="get",
        path="/api/images/resolve",
        summary="One photo by the MLS's own URL",
        about="For clients that have nothing else. The URL is compared exactly with those last announced, of any size "
        "of the photo; it is never fetched.",
        query=UrlQuery,
        answers={
            **_found("The photo.", Image),
            400: _UNREADABLE,
            404: Response("No displayed listing shows a photo announced under this URL."),
            413: _TOO_LONG,
            503: _AWAY,
        },
        try_it="/api/images/resolve --get --data-urlencode 'url=https://mls.example.com/1.jpg'",
    ),
    Operation(
        id="serveImage",
        method="get",
        path="/api/images/serve",
        summary="The photo itself",
        about="Redirects to the copy's public URL. A photo without a copy is fetched before all others, and the answer "
        "waits some seconds for it; all clients that wait share one download. Name the image by either `id` or `url`.",
        query=ServeQuery,
        answers={
            302: Response("Redirects to the photo.", ("Location", "ETag", "Cache-Control"), {}),
            304: Response("The photo is at the same address as before.", ("Location", "ETag", "Cache-Control"), {}),
            400: _UNREADABLE,
            404: Response(
                "Nothing that is displayed has this id, URL or variant (a problem), or the MLS no longer has the photo "
                "(a picture that says so).",
                content={PROBLEM: Problem, PICTURE: None},
            ),
            413: _TOO_LONG,
            503: Response(
                "Not here yet (a picture that says so), or the database does not answer (a problem).",
                ("Cache-Control", "Retry-After"),
                {PICTURE: None, PROBLEM: Problem},
            ),
        },
        try_it="/api/images/serve?id=0f343b0931126a20f133d67c2b018a3b&variant=card --location --output photo.webp",
    ),
)

_IN_A_PAGE = """<section id="page"><h2>In a page</h2>
<p>A gallery that keeps its size, follows photos that are on their way, and works by keyboard and touch.
It comes from here; its <a href="/assets/listing-photos.js">code</a> and
<a href="/assets/listing-photos.d.ts">types</a> need no build step.</p>
<pre><code>&lt;script type="module"&gt;import "$RESOLVER/assets/listing-photos.js";&lt;/script&gt;
&lt;listing-photos listing="C12000001" sizes="(max-width: 48rem) 100vw, 48rem"&gt;&lt;/listing-photos&gt;</code></pre>
</section>"""

API = Api(
    title="Photos of listings",
    about="Local, fresh URLs for the photos of real-estate listings. Public URLs are immutable and may be cached for "
    "ever; answers may be cached for two seconds and carry an ETag. Errors are a `Problem` by RFC 9457.",
    operations=OPERATIONS,
    headers=HEADERS,
    shell_variable="RESOLVER",
    appendix=_IN_A_PAGE,
)
