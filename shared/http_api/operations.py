"""The description of a service's HTTP API as data, from which its OpenAPI document and its HTML page are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

JSON, PROBLEM, PICTURE = "application/json", "application/problem+json", "image/svg+xml"


class Problem(BaseModel):
    """An error, by RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not found",
                    "status": 404,
                    "detail": "no displayed listing has this key",
                }
            ]
        }
    )

    type: str
    title: str
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, and what to do.")


@dataclass(frozen=True, slots=True)
class Response:
    """Describes the answers of one operation with one HTTP status, for the OpenAPI document.

    `when` says in words when a client gets the answer. `headers` are names in `Api.headers`. `content` maps each media
    type that the body may have to the body's model, or to None for a picture.
    """

    when: str
    headers: tuple[str, ...] = ("Cache-Control",)
    content: Mapping[str, type[BaseModel] | None] = field(default_factory=lambda: {PROBLEM: Problem})


@dataclass(frozen=True, slots=True)
class Operation:
    """Describes one operation of the API for the OpenAPI document: route, parameters, body, and answers by HTTP status.

    `id` is the OpenAPI operationId, `summary` a title and `about` a text. The models `in_path` and `query` have a field
    for each parameter of the path and of the query string. `in_path`, `query` and `body` are None if a request has no
    such part.
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
    body_types: tuple[str, ...] = (JSON,)
    """The media types that the body may have."""
    try_it: str = ""
    """An example call: path and query for the resolver's address, then further arguments for curl."""


@dataclass(frozen=True, slots=True)
class Api:
    """Describes the API of one service.

    `title` is the heading of the HTML page, `about` a text below it. `headers` maps the name of each header of an
    answer to a pair: its JSON type and its description. `shell_variable` is the variable that holds the service's
    address in the examples for curl. `appendix` is HTML for the end of the page; "" for none.
    """

    title: str
    about: str
    operations: Sequence[Operation]
    headers: Mapping[str, tuple[str, str]]
    shell_variable: str
    appendix: str = ""
