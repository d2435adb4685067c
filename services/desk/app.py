"""Wires the desk: what operators look at and change, in a browser."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from importlib.resources import files

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram

from ops import config, stores
from services.desk import view
from services.desk.access import Door, Sessions
from services.desk.actions import Action, ActionPages, Force, PauseFeed, Rebuild, Thaw
from services.desk.dead_letters import DeadLetterPages, Drop, Requeue
from services.desk.listings import ListingPages
from services.desk.overview import Overview
from services.desk.queue import QueuePages
from services.desk.removals import Allow, Decide, RemovalPages, Remove
from services.desk.session import Signing
from services.desk.view import DeskParts, Refused
from services.desk.watch import SAMPLE_SECONDS, History, Watch
from shared import log
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.health import LOG_SECONDS, Health, serving
from shared.kafka import Broker, BrokerUnavailable
from shared.render import Renderer
from shared.runtime import Loop, running_loops
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.removal_holds import Decision

SERVICE = "desk"
_LARGEST_BODY = 100_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = log.get(__name__)


async def serve(settings: Settings, feeds: Mapping[str, Feed], stop: asyncio.Event) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        broker = Broker(settings.kafka)
        closing.push_async_callback(broker.close)
        registry = CollectorRegistry()
        renderer = Renderer(settings.public_root)
        opened = stores.stores_of(database, renderer)
        watch = Watch(settings, feeds, opened, utc_now)
        parts = DeskParts(
            settings=settings,
            feeds=feeds,
            stores=opened,
            removals=mongo.MongoRemovals(database),
            audits=mongo.MongoAudits(database),
            watch=watch,
            history=History(opened.attempts, utc_now),
            renderer=renderer,
            clock=utc_now,
        )
        monotonic = asyncio.get_running_loop().time
        door = Door(settings.desk_token.get_secret_value(), monotonic)
        health = Health({"mongo": lambda: mongo.ping(database)}, registry)
        app = create_app(parts, broker, Signing(door, Sessions(monotonic)), health, registry)
        async with (
            serving(app, settings.host, settings.desk_port),
            running_loops(
                [
                    Loop("sample", watch.sample, SAMPLE_SECONDS),
                    Loop("health", health.log_changes, LOG_SECONDS, is_cancellable=True),
                ]
            ),
        ):
            health.is_started = True
            _logger.info("started", port=settings.desk_port, locked=door.is_locked)
            await stop.wait()
            health.is_draining = True


def create_app(
    parts: DeskParts, broker: Broker, signing: Signing, health: Health, registry: CollectorRegistry
) -> web.Application:
    """Return the HTTP application."""
    app = web.Application(
        client_max_size=_LARGEST_BODY,
        middlewares=[_measured(registry), _hardened(parts.renderer.url("")), _said, signing.guard],
    )
    view.set_up(app, parts)
    app.add_routes([*signing.routes(), *health.routes(), web.get("/config", _config(parts))])
    actions: Mapping[str, Action] = {
        "force": Force(parts),
        "freeze": PauseFeed(parts),
        "thaw": Thaw(parts),
        "rebuild": Rebuild(parts),
        "requeue": Requeue(parts, broker),
        "drop": Drop(parts),
        "remove": Remove(parts),
        "allow": Allow(parts),
        "resume": Decide(parts, Decision.RESUME),
        "discard": Decide(parts, Decision.DISCARD),
    }
    for pages in (
        Overview(parts), ListingPages(parts), QueuePages(parts), DeadLetterPages(parts),
        RemovalPages(parts), ActionPages(actions),
    ):  # fmt: skip
        app.add_routes(pages.routes())
    app.router.add_static("/static", str(files("services.desk") / "static"))
    return app


def _config(parts: DeskParts) -> Handler:
    """Return what tells with which settings this process was started, secrets hidden: `imagectl doctor` asks it."""
    shown = config.to_json(parts.settings, parts.feeds)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(shown)

    return answer


def _measured(registry: CollectorRegistry) -> Callable[..., Awaitable[web.StreamResponse]]:
    seconds = Histogram(
        "listing_images_desk_answer_seconds", "Time to answer an operator", ["route", "status"], registry=registry
    )

    @web.middleware
    async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await handler(request)
        resource = request.match_info.route.resource
        seconds.labels(resource.canonical if resource else "none", str(response.status)).observe(loop.time() - began)
        return response

    return measured


def _hardened(public_root: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Let pages load our own scripts and styles, and photos from object storage; nothing inline, nothing else."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src 'self' {view.origin_of(public_root)}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    @web.middleware
    async def hardened(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers.update(headers)
        is_static = request.path.startswith("/static/")
        response.headers["Cache-Control"] = "private, max-age=300" if is_static else "no-store"
        return response

    return hardened


@web.middleware
async def _said(request: web.Request, handler: Handler) -> web.StreamResponse:
    """QueuePosition everything that goes wrong into a page; nothing of it says more than the operator needs."""
    try:
        return await handler(request)
    except Refused as refused:
        return _error(request, refused.status, refused.detail)
    except (StoreUnavailable, BrokerUnavailable) as fault:
        _logger.warning("desk-dependency-unavailable", error=str(fault))
        return _error(request, 503, f"{fault}. Try again when it answers.")
    except Contention as error:
        _logger.warning("desk-action-contended", error=str(error))
        return _error(request, 503, f"Not done: {error}. It is safe to try again.")
    except web.HTTPException as refused:
        return _error(request, refused.status, f"{refused.reason}.")
    except Exception:
        _logger.exception("answer-failed", route=request.path[:200])
        return _error(request, 500, "A fault of ours; the desk's log says more.")


def _error(request: web.Request, status: int, detail: str) -> web.Response:
    title = HTTPStatus(status).phrase
    return view.page(request, "error.html", {"status": status, "title": title, "detail": detail}, status=status)
