"""Reads requests into the models of `models.py`; a request that its model does not allow is refused with a problem.

A refusal contains no text of the request except names of parameters that the models have.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from typing import NoReturn, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from services.resolver.models import (
    MAX_LISTINGS,
    MAX_PHOTOS_OF_ALL_LISTINGS,
    Context,
    ListingPath,
    ResolveRequest,
)
from shared.http_api.answers import refuse

BODY_TIMEOUT_SECONDS = 5.0
"""How long a client may take to send a body."""
_MAX_REPORTED_ERRORS = 5
_NAMES = {"ListingKey": "the key"}
"""The words that problems use for parameters, if not their names."""

Model = TypeVar("Model", bound=BaseModel)


def listing_key(request: web.Request) -> str:
    """Return the ListingKey in the request's path.

    Raises ProblemFound: 413 if the ListingKey is too long, 400 if it is not UTF-8.
    """
    return _validated(ListingPath, {"ListingKey": request.match_info["key"]}).ListingKey


def query(request: web.Request, model: type[Model]) -> Model:
    """Return the query parameters of a request, validated as an instance of `model`.

    An empty parameter counts as absent. Parameters that the model does not have are ignored. Raises ProblemFound: 400
    for a parameter that is missing or given twice, 413 for one that is too long, 422 for an unknown `context`.
    """
    if not request.rel_url.raw_query_string:
        parameters: Model = _without_parameters(model)
        return parameters
    given = request.query
    values = {name: value for name, value in given.items() if value}
    if len(values) < len(given):  # a parameter is empty, or given twice
        for name in model.model_fields:
            if len(given.getall(name, ())) > 1:
                refuse(400, f"{name} is given twice")
    return _validated(model, values)


async def search(request: web.Request) -> ResolveRequest:
    """Read the JSON body of a request and return it as a model.

    Raises ProblemFound: 400 if the body is not JSON, 422 if the model does not allow it, 413 if it names too many
    listings or photos. Raises TimeoutError if the client does not send the whole body within 5 s.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            body = await request.read()
        parameters = ResolveRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        refuse(400, "the body is not JSON")
    except ValidationError as error:
        refuse(422, "; ".join(_body_error(details) for details in error.errors()[:_MAX_REPORTED_ERRORS]))
    for name, values in (("listing_keys", parameters.listing_keys), ("urls", parameters.urls)):
        if len(values) > MAX_LISTINGS:
            refuse(413, f"at most {MAX_LISTINGS} {name} at once")
    if len(parameters.listing_keys) * parameters.photos_per_listing > MAX_PHOTOS_OF_ALL_LISTINGS:
        refuse(413, f"listing_keys times photos_per_listing may be {MAX_PHOTOS_OF_ALL_LISTINGS:,} at most")
    return parameters


@cache
def _without_parameters(model: type[Model]) -> Model:
    """Return the instance of `model` for a query string without parameters: each field has its default.

    Most requests have no parameters; the instance is kept in memory for all of them. Raises ProblemFound if the model
    requires a parameter.
    """
    return _validated(model, {})


def _validated(model: type[Model], values: Mapping[str, str]) -> Model:
    try:
        parameters: Model = _validator(model)(values)
    except ValidationError as error:
        _refuse_parameter(error.errors()[0])
    return parameters


@cache
def _validator(model: type[Model]) -> Callable[[Mapping[str, str]], Model]:
    """Return a function that takes values by parameter name, and returns an instance of `model` made of them.

    The function raises ValidationError for values that the model does not allow. `model_validate` does the same, but
    takes twice the time.
    """
    validate: Callable[[Mapping[str, str]], Model] = TypeAdapter(model).validator.validate_python
    return validate


def _refuse_parameter(error: ErrorDetails) -> NoReturn:
    """Raise ProblemFound for a request with a parameter of path or query in which a model found `error`.

    The problem's text names the parameter. Its status is 413 for a value that is too long, 422 for a value that is not
    one of the allowed words, and 400 for any other error, such as a missing parameter.
    """
    name = ".".join(_NAMES.get(str(part), str(part)) for part in error["loc"])
    match error["type"]:
        case "missing":
            refuse(400, f"{name} is missing")
        case "string_unicode":
            refuse(400, f"{name} is not UTF-8")
        case "string_too_long":
            refuse(413, f"{name} is too long")
        case "enum":
            refuse(422, f"{name} must be one of {', '.join(Context)}")
        case _:
            refuse(400, error["msg"])


def _body_error(error: ErrorDetails) -> str:
    """Return a phrase for the problem's text about one `error` that the model found in the body of a request.

    The phrase names the field. For a field that the model does not have, it lists the model's fields instead, because
    an unknown name is text of the request.
    """
    if error["type"] == "extra_forbidden":
        return f"there are no fields but {', '.join(ResolveRequest.model_fields)}"
    return f"{'.'.join(map(str, error['loc'])) or 'body'}: {error['msg']}"
