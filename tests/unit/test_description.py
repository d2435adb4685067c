"""The API's description: valid, complete, made of the models, and readable as a page."""

import re
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel

from services.resolver.answer_routes import AnswerRoutes
from services.resolver.models import Image, ListingImages, ListingsAnswer, ResolveRequest, UrlsAnswer, Variant
from services.resolver.operations import API
from services.resolver.serve_route import ServeRoute
from shared.http_api import description, docs_page

DOCUMENT = description.openapi(API)
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_the_document_is_valid_openapi_3_1() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_exactly_the_routes_for_frontends_are_described() -> None:
    # Their routes can be listed without the parts that answering needs.
    table = [
        *AnswerRoutes.routes(AnswerRoutes.__new__(AnswerRoutes)),
        *ServeRoute.routes(ServeRoute.__new__(ServeRoute)),
    ]
    served = {(route.method.lower(), re.sub("{.*?}", "{}", route.path)) for route in table}
    described = {
        (method, re.sub("{.*?}", "{}", path)) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == served


@pytest.mark.parametrize("model", [Image, ListingImages, ListingsAnswer, UrlsAnswer, ResolveRequest, Variant])
def test_the_schema_of_a_model_has_its_fields_and_a_valid_example(model: type[BaseModel]) -> None:
    schema = SCHEMAS[model.__name__]
    assert list(schema["properties"]) == list(model.model_fields)
    assert set(schema.get("required", [])) == {
        name for name, field in model.model_fields.items() if field.is_required()
    }
    for example in schema.get("examples", []):
        assert model.model_validate_json(model(**example).model_dump_json(exclude_unset=True)) == model(**example)


def test_an_optional_parameter_is_described_without_null() -> None:
    operation = DOCUMENT["paths"]["/api/listings/{ListingKey}/images"]["get"]
    assert [
        tuple(parameter[name] for name in ("name", "in", "required", "schema")) for parameter in operation["parameters"]
    ] == [
        ("ListingKey", "path", True, {"type": "string"}),
        ("feed", "query", False, {"type": "string"}),
        ("context", "query", False, {"type": "string", "enum": ["view", "search"], "default": "view"}),
    ]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name == "href" and tag == "a":
                self.links.add(value or "")
            elif name in ("src", "href", "srcset") and value != "data:,":
                self.loads.append(value or "")


def test_the_page_shows_the_whole_document_and_loads_nothing_from_other_sites() -> None:
    page = docs_page.page(API, DOCUMENT)
    links = _Links()
    links.feed(page)
    assert not links.loads
    assert {link[1:] for link in links.links if link.startswith("#")} <= links.ids
    assert {link for link in links.links if not link.startswith("#")} == {
        "/api/openapi.json", "/assets/listing-photos.js", "/assets/listing-photos.d.ts",
    }  # fmt: skip
    assert set(SCHEMAS) <= links.ids
    operations = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert {operation["operationId"] for operation in operations} <= links.ids
    text = re.sub("<[^>]*>", "", page)
    for operation in operations:
        for part in (*operation["parameters"], *operation["responses"].values()):
            assert re.sub("`", "", part["description"]).replace("'", "&#x27;") in text
