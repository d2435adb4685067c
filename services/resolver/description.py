"""The API described: OpenAPI 3.1 from the models, and a page that shows it without anything from elsewhere."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from aiohttp import web
from pydantic.json_schema import models_json_schema

from services.resolver import answers
from services.resolver.models import Context, Image, ListingImages, Problem, ResolveAnswer, ResolveRequest

Json = dict[str, Any]

_ABOUT = (
    "Local, fresh URLs for the photos of real-estate listings. Public URLs are immutable and may be cached for ever; "
    "answers may be cached for two seconds and carry an ETag."
)


def routes() -> list[web.RouteDef]:
    """Return the routes to serve."""
    return [web.get("/api/openapi.json", _openapi), web.get("/api/docs", _docs)]


async def _openapi(request: web.Request) -> web.Response:
    return answers.found(request, orjson.dumps(openapi(), option=orjson.OPT_INDENT_2))


async def _docs(_: web.Request) -> web.Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "public, max-age=60"}
    return web.Response(text=page(), content_type="text/html", headers=headers)


@cache
def openapi() -> Json:
    """Return the OpenAPI 3.1 document."""
    models = (Image, ListingImages, ResolveRequest, ResolveAnswer, Problem)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "listing-images", "version": version("listing-images"), "description": _ABOUT},
        "paths": _paths(),
        "components": {"schemas": schemas["$defs"]},
    }


def _paths() -> Json:
    feed = _query("feed", "The feed, where the key is displayed in several.")
    listing = _query("listing", "Narrows to one ListingKey.")
    return {
        "/api/listings/{ListingKey}/images": {
            "get": {
                "operationId": "listListingImages",
                "summary": "All photos of one listing, in order",
                "description": "Photos that are missing are raised to the priority of `context`.",
                "parameters": [
                    _parameter(
                        "ListingKey", "path", "The MLS's key, percent-encoded.", {"type": "string"}, required=True
                    ),
                    feed,
                    _query("context", "`view` for a listing's page, `search` for results.", _context("view")),
                ],
                "responses": {
                    "200": _json("The photos", ListingImages),
                    "304": {"description": "As the client has it"},
                    **_problems(400, 404, 409, 413, 422, 503),
                },
            }
        },
        "/api/images/resolve": {
            "get": {
                "operationId": "resolveImageUrl",
                "summary": "One photo by the MLS's own URL",
                "description": "Matched exactly against the URLs last announced; any size of the photo.",
                "parameters": [_query("url", "The MLS's URL, percent-encoded.", required=True), listing],
                "responses": {
                    "200": _json("The photo", Image),
                    "304": {"description": "As the client has it"},
                    **_problems(400, 404, 413, 503),
                },
            },
            "post": {
                "operationId": "resolveListings",
                "summary": "The first photos of up to 200 listings, for one page of search results",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": _schema(ResolveRequest),
                            "example": {"listing_keys": ["C12000001", "W12000003"], "photos_per_listing": 1},
                        }
                    },
                },
                "responses": {
                    "200": _json("The photos by listing key", ResolveAnswer),
                    "304": {"description": "As the client has it"},
                    **_problems(400, 413, 422, 503),
                },
            },
        },
        "/api/images/serve": {
            "get": {
                "operationId": "serveImage",
                "summary": "The photo itself",
                "description": "Redirects to the copy's public URL. Where there is none yet, it is fetched first of "
                "all, and the answer waits for it for some seconds. Name the image by either `id` or `url`.",
                "parameters": [
                    _query("id", "The image's id."),
                    _query("url", "The MLS's URL."),
                    listing,
                    _query("variant", "The rendering, `full` if not given."),
                ],
                "responses": {
                    "302": {
                        "description": "To the public URL",
                        "headers": {"Location": {"schema": {"type": "string"}}},
                    },
                    "404": {
                        "description": "No such image or variant (a problem), or the MLS no longer has it (a picture)",
                        "content": {**_content(Problem, "application/problem+json"), **_picture()},
                    },
                    "503": {
                        "description": "Not here yet; `Retry-After` says when to ask again",
                        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                        "content": {**_picture(), **_content(Problem, "application/problem+json")},
                    },
                    **_problems(400, 413),
                },
            }
        },
    }


def _parameter(name: str, where: str, description: str, schema: Json, *, required: bool) -> Json:
    return {"name": name, "in": where, "description": description, "required": required, "schema": schema}


def _query(name: str, description: str, schema: Json | None = None, *, required: bool = False) -> Json:
    return _parameter(name, "query", description, schema or {"type": "string"}, required=required)


def _context(default: str) -> Json:
    return {"type": "string", "enum": [*Context], "default": default}


def _schema(model: type[Any]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _content(model: type[Any], kind: str) -> Json:
    return {kind: {"schema": _schema(model)}}


def _json(description: str, model: type[Any]) -> Json:
    headers = {"ETag": {"schema": {"type": "string"}}, "Cache-Control": {"schema": {"type": "string"}}}
    return {"description": description, "headers": headers, "content": _content(model, "application/json")}


def _picture() -> Json:
    return {"image/svg+xml": {"schema": {"type": "string"}}}


_MEANINGS = {
    400: "The question cannot be understood",
    404: "Nothing that may be shown",
    409: "The key is displayed in several feeds",
    413: "Too much at once",
    422: "A value is not allowed",
    503: "Not available right now",
}


def _problems(*statuses: int) -> Json:
    return {
        str(status): {"description": _MEANINGS[status], "content": _content(Problem, "application/problem+json")}
        for status in statuses
    }


@cache
def page() -> str:
    """Return the description as one HTML page."""
    document = openapi()
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(_table_of(name, schema) for name, schema in document["components"]["schemas"].items())
    return _PAGE.format(about=_text(_ABOUT), operations=operations, schemas=schemas)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    return (
        f'<section><h2 id="{operation["operationId"]}">'
        f'<b class="{method}">{method.upper()}</b> <code>{_text(path)}</code>'
        f"</h2><p><strong>{_text(operation['summary'])}.</strong> {_text(operation.get('description', ''))}</p>"
        f"{_parameters(operation.get('parameters', []))}{_body(operation.get('requestBody'))}"
        f"<table><caption>Answers</caption>{''.join(map(_answer, operation['responses'].items()))}</table></section>"
    )


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th><code>{_text(one['name'])}</code></th><td>{one['in']}{', required' if one['required'] else ''}</td>"
        f"<td>{_text(one['description'])}{_choices(one['schema'])}</td></tr>"
        for one in parameters
    )
    return f"<table><caption>Parameters</caption>{rows}</table>" if rows else ""


def _choices(schema: Mapping[str, Any]) -> str:
    return f" One of {_text(', '.join(schema['enum']))}." if "enum" in schema else ""


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    content = body["content"]["application/json"]
    return (
        f"<p>Body: {_link(content['schema'])}, such as</p><pre>{_text(json.dumps(content['example'], indent=2))}</pre>"
    )


def _answer(item: tuple[str, Mapping[str, Any]]) -> str:
    status, answer = item
    kinds = "<br>".join(
        f"<code>{_text(kind)}</code> {_link(content['schema'])}" for kind, content in answer.get("content", {}).items()
    )
    return f"<tr><th>{status}</th><td>{_text(answer['description'])}</td><td>{kinds}</td></tr>"


def _table_of(name: str, schema: Mapping[str, Any]) -> str:
    description = _text(schema.get("description", ""))
    if "properties" not in schema:
        choices = ", ".join(f"<code>{_text(one)}</code>" for one in schema.get("enum", []))
        return f'<section><h3 id="{name}">{name}</h3><p>{description}</p><p>{choices}</p></section>'
    rows = "".join(
        f"<tr><th><code>{_text(key)}</code></th><td>{_link(value)}</td>"
        f"<td>{_text(value.get('description', ''))}</td></tr>"
        for key, value in schema["properties"].items()
    )
    return f'<section><h3 id="{name}">{name}</h3><p>{description}</p><table>{rows}</table></section>'


def _link(schema: Mapping[str, Any]) -> str:
    """Say a schema's type in words, with links to the models."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_link, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_link(schema['items'])}"
    if schema.get("additionalProperties"):
        return f"{_link(schema['additionalProperties'])} by key"
    return _text(f"{schema.get('type', '')} {schema.get('format', '')}".strip())


def _text(words: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(words))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>listing-images API</title>
<style>
:root {{ color-scheme: light dark; --line: light-dark(#d5dae0, #3a4149); --soft: light-dark(#f3f5f7, #1d2125); }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }}
h1 {{ margin-bottom: 0; }} section {{ margin: 2rem 0; }}
h2 {{ font-size: 1.1rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; overflow-wrap: anywhere; }}
h2 b {{ font: 700 .8rem system-ui; padding: .2rem .5rem; border-radius: .3rem; color: #fff; background: #1f6f43; }}
h2 b.post {{ background: #1d5fa8; }}
table {{ border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .93rem; }}
caption {{ text-align: left; font-weight: 600; padding: .3rem 0; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line); }}
th {{ width: 10rem; font-weight: 500; }} pre {{ background: var(--soft); padding: .8rem; overflow-x: auto; }}
code {{ font-size: .92em; }}
</style></head><body>
<h1>listing-images</h1><p>{about} Machines read <a href="/api/openapi.json">openapi.json</a>.</p>
{operations}<h2>Models</h2>{schemas}
</body></html>
"""
