"""The route to which an MLS pushes the keys of changed records: RESO's EntityEvent push (RCP-28)."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from services.ingest import body, requests
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.http_api.answers import refuse
from shared.stores.pushed_keys import PushedKey, PushedKeys, Resource

_MAX_EVENTS = 10_000
_MAX_KEY_CHARACTERS = 255
"""The longest ResourceRecordKey by RESO's Data Dictionary."""
_RESOURCES = {resource.value.lower(): resource for resource in Resource}


class WebhookRoute:
    """Records the keys that an MLS pushes; the scheduler then reads their records from the MLS's API."""

    def __init__(
        self, pushed_keys: PushedKeys, feeds: Mapping[str, Feed], clock: Clock, registry: CollectorRegistry
    ) -> None:
        """`feeds` are the feeds of feeds.toml by name. The counter of pushed keys is made in `registry`."""
        self._pushed_keys = pushed_keys
        self._feeds = feeds
        self._clock = clock
        self._keys = Counter("listing_images_ingest_pushed_keys", "Keys that MLSs pushed", registry=registry)

    def routes(self) -> list[web.RouteDef]:
        """Return the route `POST /api/webhooks/reso` to add to the application."""
        return [web.post("/api/webhooks/reso", self._accept)]

    async def _accept(self, request: web.Request) -> web.Response:
        """Record the keys of a request's events, and answer 200 once MongoDB has stored them.

        Events of resources other than Property and Media are ignored. Raises ProblemFound: 400 if the body is not JSON,
        413 if it is too large, 415 for another media type, 422 for an unknown feed, a feed without `reso_url`, or a
        body that holds no EntityEvent. Raises StoreUnavailable if the database does not answer.
        """
        feed = requests.feed_of(request, self._feeds)
        if not feed.reso_url:
            refuse(
                422, "the feed has no reso_url in feeds.toml, so that its records cannot be read; see docs/ingest.md"
            )
        with await body.read(request, ("application/json",)) as file:
            try:
                payload = json.load(file)
            except (ValueError, RecursionError):
                refuse(400, "the body is not JSON")
        keys = keys_of(payload)
        await self._pushed_keys.put(feed.name, keys, self._clock())
        self._keys.inc(len(keys))
        return web.json_response({"keys": len(keys)}, headers={"Cache-Control": "no-store"})


def keys_of(payload: Any) -> set[PushedKey]:
    """Return the keys of the Property and Media records that a push names, each once; empty if it names none.

    `payload` is the JSON of the body: an EntityEvent, a list of EntityEvents, or an object whose `value` is such a
    list. Raises ProblemFound (422) if it is none of these, and 413 if it holds too many events.
    """
    events = payload.get("value", [payload]) if isinstance(payload, dict) else payload
    if not isinstance(events, list):
        refuse(422, "the body must be an EntityEvent, or an object whose value is a list of them (RESO RCP-28)")
    if len(events) > _MAX_EVENTS:
        refuse(413, f"a push may have at most {_MAX_EVENTS:,} events")
    return {key for event in events if (key := _key_of(event)) is not None}


def _key_of(event: Any) -> PushedKey | None:
    """Return the key that an EntityEvent names; None if its resource is neither Property nor Media.

    Raises ProblemFound (422) if `event` is no EntityEvent.
    """
    if not isinstance(event, dict) or not isinstance(event.get("ResourceName"), str):
        refuse(422, "each event needs ResourceName and ResourceRecordKey (RESO RCP-28)")
    resource, key = _RESOURCES.get(event["ResourceName"].strip().lower()), event.get("ResourceRecordKey")
    if resource is None:
        return None
    text = str(key).strip() if isinstance(key, str | int) and not isinstance(key, bool) else ""
    if not 0 < len(text) <= _MAX_KEY_CHARACTERS or not text.isprintable():
        refuse(422, "a ResourceRecordKey is missing, or it is no text of at most 255 characters")
    return PushedKey(resource, text)
