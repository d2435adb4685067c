"""The operations of the API of the service `ingest`, from which its OpenAPI document and HTML page are made."""

from collections.abc import Mapping

from services.ingest.models import (
    Accepted,
    EntityEvents,
    FeedQuery,
    PropertyRecords,
    PushReceived,
    Queued,
    RefreshPath,
    RefreshQuery,
)
from shared.http_api.operations import JSON, Api, Operation, Response

_AUTHORIZED = ' --header "Authorization: Bearer $IMAGES_INGEST_TOKEN"'
_WAIT = ("Cache-Control", "Retry-After")

HEADERS: Mapping[str, tuple[str, str]] = {
    "Cache-Control": ("string", "`no-store`."),
    "Retry-After": ("integer", "Seconds after which to send it again."),
    "WWW-Authenticate": ("string", "`Bearer`."),
}
"""The JSON type and the description of each header, by the header's name."""

_NO_FEED = Response("`feed` is missing or repeated, or the body is not JSON.")
_NO_TOKEN = Response("The token is missing or wrong.", ("Cache-Control", "WWW-Authenticate"))
_TOO_LARGE = Response("More than 16 MB after inflating, or too many records: send it in parts.")
_NO_FORM = Response("Another media type, or another Content-Encoding than gzip.")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="sendListings",
        method="post",
        path="/api/listings",
        summary="Property records of listings",
        about="Takes RESO Property records with `Media` expanded, as the MLS gave them: up to 2,000 records in 16 MB, "
        "also gzipped. The answer comes once Kafka has stored all accepted records. Unchanged listings cost nothing.",
        query=FeedQuery,
        body=PropertyRecords,
        body_types=(JSON, "application/x-ndjson"),
        answers={
            202: Response("At least one record is accepted.", content={JSON: Accepted}),
            400: _NO_FEED,
            401: _NO_TOKEN,
            413: _TOO_LARGE,
            415: _NO_FORM,
            422: Response("There is no such feed, or no record can be used."),
            429: Response("Too many requests are being read.", _WAIT),
            503: Response("Kafka does not answer: send the same again.", _WAIT),
        },
        try_it="/api/listings?feed=proptx-idx" + _AUTHORIZED + " --json @listings.json",
    ),
    Operation(
        id="pushEntityEvents",
        method="post",
        path="/api/webhooks/reso",
        summary="Keys of changed records, pushed by an MLS",
        about="RESO's EntityEvent push (RCP-28). The records are read from the MLS soon after, so the feed needs "
        "`reso_url`. Events of other resources than Property and Media are ignored.",
        query=FeedQuery,
        body=EntityEvents,
        answers={
            200: Response("The keys are recorded.", content={JSON: PushReceived}),
            400: _NO_FEED,
            401: _NO_TOKEN,
            413: _TOO_LARGE,
            415: _NO_FORM,
            422: Response("There is no such feed, it has no `reso_url`, or the body is no EntityEvent."),
            503: Response("The database does not answer: push the same again.", _WAIT),
        },
        try_it="/api/webhooks/reso?feed=proptx-idx" + _AUTHORIZED + " --json @events.json",
    ),
    Operation(
        id="refreshListing",
        method="post",
        path="/api/listings/{ListingKey}/refresh",
        summary="Photos of a listing, fetched again at once",
        about="For an admin page of your site. Photos that are being downloaded are left alone; copies that are held "
        "stay and are served until newer ones are here.",
        in_path=RefreshPath,
        query=RefreshQuery,
        answers={
            202: Response("The photos are due.", content={JSON: Queued}),
            400: Response("`feed` is missing or repeated."),
            401: _NO_TOKEN,
            404: Response("Nothing is recorded of this listing, or it has no such image."),
            422: Response("There is no such feed."),
            429: Response("More than a tenth of the feed's viewed reserve in this hour.", _WAIT),
            503: Response("The database does not answer.", _WAIT),
        },
        try_it="/api/listings/C12000001/refresh?feed=proptx-idx" + _AUTHORIZED + " --request POST",
    ),
)

API = Api(
    title="Listings over HTTP",
    about="How a site, an ingest or an MLS sends listings. Each request carries one of the tokens in "
    "IMAGES_INGEST_TOKEN as a Bearer token. Errors are a `Problem` by RFC 9457.",
    operations=OPERATIONS,
    headers=HEADERS,
    shell_variable="INGEST",
)
