"""What the resolver is measured against: one document a photo, one query a question, and a constant answer.

`python -m bench.naive PORT MONGO_URI DATABASE FILE`: FILE holds the bytes of the constant answer.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

_OF_VARIANT = ("name", "url", "width", "height", "file_size")


def create_app(uri: str, database: str, constant: bytes) -> web.Application:
    """Return the application."""
    photos: AsyncIOMotorCollection[dict[str, Any]] = AsyncIOMotorClient(uri)[database]["photos"]

    async def bare(_: web.Request) -> web.Response:
        return web.Response(body=constant, content_type="application/json")

    async def listing(request: web.Request) -> web.Response:
        query = {"listing_key": request.match_info["key"]}
        found = await photos.find(query).sort("order", 1).to_list(None)
        return _json([_image(one) for one in found])

    async def search_page(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        found = {key: await photos.find_one({"listing_key": key, "order": 0}) for key in asked["listing_keys"]}
        return _json({key: _image(one) for key, one in found.items() if one})

    async def by_url(request: web.Request) -> web.Response:
        found = await photos.find_one({"url": request.query["url"]})
        return _json(_image(found) if found else None)

    app = web.Application()
    app.add_routes(
        [
            web.get("/bare", bare),
            web.get("/api/listings/{key}/images", listing),
            web.post("/api/images/resolve", search_page),
            web.get("/api/images/resolve", by_url),
        ]
    )
    return app


def _image(photo: dict[str, Any]) -> dict[str, object]:
    """Make the contract's `Image` of a photo's document; every one has a copy here."""
    copy = photo["copy"]
    variants = {one["name"]: {**one, "url": f"http://cdn.example.com/{one['key']}"} for one in copy["variants"]}
    full = variants["full"]
    return {
        "id": photo["id"],
        "order": photo["order"],
        "status": photo["status"],
        **{name: full[name] for name in ("url", "width", "height", "content_type", "file_size")},
        "srcset": ", ".join(f"{one['url']} {one['width']}w" for one in variants.values()),
        "variants": [{name: one[name] for name in _OF_VARIANT} for one in variants.values()],
        "alt": photo["caption"],
        "thumbhash": copy["thumbhash"],
        "downloaded_at": copy["downloaded_at"],
        "media_changed_at": photo["announced_at"],
    }


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def _serve(port: int, uri: str, database: str, constant: bytes) -> None:
    runner = web.AppRunner(create_app(uri, database, constant), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    _port, _uri, _database, _file = sys.argv[1:]

    asyncio.run(_serve(int(_port), _uri, _database, Path(_file).read_bytes()))
