"""Makes and runs the desk: the pages in which operators see how the system stands, and change it."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from ops import config
from ops.stores import stores_of
from services.desk import middleware, view
from services.desk.access import Sessions, TokenCheck
from services.desk.actions import Action, ActionPages, EndSuspension, ForceListing, PauseFeed, RebuildFeed
from services.desk.dead_letters import DeadLetterPages, Drop, Requeue
from services.desk.listings import ListingPages
from services.desk.overview import Overview
from services.desk.queue import QueuePages
from services.desk.removals import AllowListing, DecideHold, RemovalPages, RemoveListing
from services.desk.session import SignInPages
from services.desk.snapshots import SAMPLE_SECONDS, AttemptHistory, Snapshots
from services.desk.view import DeskParts
from shared import log
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health, serving
from shared.kafka import Broker
from shared.render import Renderer
from shared.runtime import Loop, running_loops
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.removal_holds import Decision

SERVICE = "desk"
_MAX_BODY_BYTES = 100_000

_logger = log.get(__name__)


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run the desk until `stop` is set: serve its pages, sample the queue's length, and log changes of its health."""
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        parts = _parts(settings, feeds, database)
        monotonic = asyncio.get_running_loop().time
        token_check = TokenCheck(settings.desk_token.get_secret_value(), monotonic)
        health = Health({"mongo": lambda: mongo.ping(database)}, registry)
        app = create_app(parts, broker, SignInPages(token_check, Sessions(monotonic)), health, registry)
        loops = [
            Loop("sample", parts.snapshots.sample_queue, SAMPLE_SECONDS),
            Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
        ]
        async with serving(app, settings.host, settings.desk_port), running_loops(loops):
            health.is_started = True
            _logger.info("started", port=settings.desk_port, locked=token_check.is_locked)
            await stop.wait()
            health.is_draining = True


def _parts(settings: Settings, feeds: Mapping[str, Feed], database: mongo.Database) -> DeskParts:
    renderer = Renderer(settings.public_root)
    stores = stores_of(database, renderer)
    return DeskParts(
        settings=settings,
        feeds=feeds,
        stores=stores,
        removals=mongo.MongoRemovals(database),
        audits=mongo.MongoAudits(database),
        snapshots=Snapshots(settings, feeds, stores, utc_now),
        history=AttemptHistory(stores.attempts, utc_now),
        renderer=renderer,
        clock=utc_now,
    )


def create_app(
    parts: DeskParts, broker: Broker, sign_in: SignInPages, health: Health, registry: CollectorRegistry
) -> web.Application:
    """Return the desk's HTTP application with all pages, actions and probes, ready to be served.

    The desk's metrics are registered in `registry`.
    """
    app = web.Application(
        client_max_size=_MAX_BODY_BYTES,
        middlewares=[
            middleware.measure(registry),
            middleware.add_security_headers(parts.renderer.url("")),
            middleware.show_errors,
            sign_in.require_sign_in,
        ],
    )
    view.set_up(app, parts)
    app.add_routes([*sign_in.routes(), *health.routes(), web.get("/config", _config(parts))])
    actions: Mapping[str, Action] = {
        "force": ForceListing(parts),
        "freeze": PauseFeed(parts),
        "thaw": EndSuspension(parts),
        "rebuild": RebuildFeed(parts),
        "requeue": Requeue(parts, broker),
        "drop": Drop(parts),
        "remove": RemoveListing(parts),
        "allow": AllowListing(parts),
        "resume": DecideHold(parts, Decision.RESUME),
        "discard": DecideHold(parts, Decision.DISCARD),
    }
    for pages in (
        Overview(parts), ListingPages(parts), QueuePages(parts), DeadLetterPages(parts),
        RemovalPages(parts), ActionPages(actions),
    ):  # fmt: skip
        app.add_routes(pages.routes())
    app.router.add_static("/static", str(files("services.desk") / "static"))
    return app


def _config(parts: DeskParts) -> Handler:
    """Return the handler of `/config`, which answers with the settings and feeds of this process as JSON.

    Secrets are hidden. `imagectl doctor` compares the answer with the settings and feeds that it reads itself.
    """
    shown = config.to_json(parts.settings, parts.feeds)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(shown)

    return answer
