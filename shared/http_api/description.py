"""The routes that describe a service's API: an OpenAPI 3.1 document of its operations and models, and an HTML page."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from shared import compression
from shared.http_api import answers, docs_page
from shared.http_api.answers import Body
from shared.http_api.operations import Api, Operation, Response

Json = dict[str, Any]

_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def routes(api: Api) -> list[web.RouteDef]:
    """Return the routes `/api/openapi.json` and `/api/docs`, which describe the API, to add to the application.

    The document and the page are made once, by this call.
    """
    described = openapi(api)
    document = Body(orjson.dumps(described, option=orjson.OPT_INDENT_2), compression.SMALL)
    page = Body(docs_page.page(api, described).encode(), compression.SMALL)

    async def answer_document(request: web.Request) -> web.Response:
        return answers.text(request, document)

    async def answer_page(request: web.Request) -> web.Response:
        answer = answers.text(request, page, "text/html; charset=utf-8", "public, max-age=60")
        answer.headers["Content-Security-Policy"] = _PAGE_POLICY
        return answer

    return [web.get("/api/openapi.json", answer_document), web.get("/api/docs", answer_page)]


def openapi(api: Api) -> Json:
    """Return the OpenAPI 3.1 document of the API as a dict that can be written as JSON."""
    paths: dict[str, Json] = {}
    for operation in api.operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "listing-images", "version": version("listing-images"), "description": api.about},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(api),
            "headers": {
                name: {"description": meaning, "schema": {"type": kind}}
                for name, (kind, meaning) in api.headers.items()
            },
        },
    }


class _InOrder(GenerateJsonSchema):
    """Makes JSON schemas that keep the order of the models' fields; Pydantic would sort them by name."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def _schemas(api: Api) -> Json:
    models = {operation.body for operation in api.operations if operation.body}
    for operation in api.operations:
        for answer in operation.answers.values():
            models |= {model for model in answer.content.values() if model}
    in_order = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in in_order],
        ref_template="#/components/schemas/{model}",
        schema_generator=_InOrder,
    )
    return dict(schemas["$defs"])


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.about,
        "parameters": [*_parameters("path", operation.in_path), *_parameters("query", operation.query)],
        "responses": {str(status): _response(answer) for status, answer in sorted(operation.answers.items())},
    }
    if operation.body:
        content = {kind: {"schema": _schema(operation.body)} for kind in operation.body_types}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(place: str, model: type[BaseModel] | None) -> Iterator[Json]:
    if model is None:
        return
    described = model.model_json_schema()
    for name, schema in described["properties"].items():
        yield {
            "name": name,
            "in": place,
            "required": name in described.get("required", []),
            "description": schema.pop("description"),
            "schema": _without_null(schema, described.get("$defs", {})),
        }


def _without_null(schema: Json, definitions: Json) -> Json:
    """Return the JSON schema of a parameter without `null`: only its type, its allowed values and its default.

    Pydantic adds the alternative `null` for an optional parameter, but a parameter of a request is absent, never null.
    If the schema is a `$ref`, the result is made from the schema that it names; `definitions` has such schemas by name.
    """
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    kind = definitions[kinds[0]["$ref"].rsplit("/", 1)[1]] if "$ref" in kinds[0] else kinds[0]
    default = {"default": schema["default"]} if schema.get("default") is not None else {}
    return {name: value for name, value in kind.items() if name in ("type", "enum")} | default


def _response(answer: Response) -> Json:
    described: Json = {
        "description": answer.when,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers},
    }
    if answer.content:
        described["content"] = {
            kind: {"schema": _schema(model) if model else {"type": "string"}} for kind, model in answer.content.items()
        }
    return described


def _schema(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
