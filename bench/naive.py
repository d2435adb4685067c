"""The baselines of the resolver's benchmark: a server with a document for each photo and a query for each request.

`/bare` answers with constant bytes. `python -m bench.naive PORT MONGO_URI DATABASE FILE`: FILE has these bytes.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

_VARIANT_FIELDS = ("name", "url", "width", "height", "file_size")


def create_app(uri: str, database: str, constant: bytes) -> web.Application:
    """Return the HTTP application of the baselines. It answers from the collection `photos` of a database at `uri`.

    `constant` is the body of every answer to `/bare`.
    """
    photos: AsyncIOMotorCollection[dict[str, Any]] = AsyncIOMotorClient(uri)[database]["photos"]

    async def bare(_: web.Request) -> web.Response:
        return web.Response(body=constant, content_type="application/json")

    async def listing(request: web.Request) -> web.Response:
        query = {"listing_key": request.match_info["key"]}
        found = await photos.find(query).sort("order", 1).to_list(None)
        return _json([_image(photo) for photo in found])

    async def search_page(request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        found = {key: await photos.find_one({"listing_key": key, "order": 0}) for key in body["listing_keys"]}
        return _json({key: _image(photo) for key, photo in found.items() if photo})

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
    """Return a photo's document as the resolver's API would answer it, as JSON. The photo must have a copy."""
    copy = photo["copy"]
    variants = {
        variant["name"]: {**variant, "url": f"http://cdn.example.com/{variant['key']}"} for variant in copy["variants"]
    }
    full = variants["full"]
    return {
        "id": photo["id"],
        "order": photo["order"],
        "status": photo["status"],
        **{name: full[name] for name in ("url", "width", "height", "content_type", "file_size")},
        "srcset": ", ".join(f"{variant['url']} {variant['width']}w" for variant in variants.values()),
        "variants": [{name: variant[name] for name in _VARIANT_FIELDS} for variant in variants.values()],
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
