"""The operations of the resolver's API, from which the OpenAPI document and its HTML page are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from services.resolver.models import (
    Image,
    ListingImages,
    ListingPath,
    ListingQuery,
    Problem,
    ResolveAnswer,
    ResolveRequest,
    ServeQuery,
    UrlQuery,
)

JSON, PROBLEM, PICTURE = "application/json", "application/problem+json", "image/svg+xml"

HEADERS: Mapping[str, tuple[str, str]] = {
    "ETag": ("string", "Recognises the answer; send it back as `If-None-Match`."),
    "Cache-Control": ("string", "`public, max-age=2` for answers, `no-store` for errors."),
    "Location": ("string", "The photo's public URL, which never changes its bytes."),
    "Retry-After": ("integer", "Seconds after which to ask again."),
}
"""By header: its JSON type and its description."""


@dataclass(frozen=True, slots=True)
class Response:
    """Describes the answers of one operation with one HTTP status, for the OpenAPI document.

    `when` says in words when a client gets the answer. `headers` are names in `HEADERS`. `content` maps each media type
    that the body may have to the body's model, or to None for a picture.
    """

    when: str
    headers: tuple[str, ...] = ("Cache-Control",)
    content: Mapping[str, type[BaseModel] | None] = field(default_factory=lambda: {PROBLEM: Problem})


@dataclass(frozen=True, slots=True)
class Operation:
    """Describes one operation of the API for the OpenAPI document: route, parameters, body, and answers by HTTP status.

    `id` is the OpenAPI operationId, `summary` a title and `about` a text. The models `in_path` and `query` have a field
    for each parameter of the path and the query string; they and `body` are None if a request has no such part.
    """

    id: str
    method: str
    path: str
    summary: str
    about: str
    answers: Mapping[int, Response]
    in_path: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    try_it: str = ""
    """An example call: path and query for the resolver's address, then further arguments for curl."""


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
        summary="The first photos of up to 200 listings",
        about="One call for one page of search results.",
        body=ResolveRequest,
        answers={
            **_found("The photos by listing key.", ResolveAnswer),
            400: Response("The body is not JSON."),
            413: Response("More than 200 keys, or a body of more than 1 MB."),
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
