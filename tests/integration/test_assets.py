"""The files that frontends load: right types, for pages of any site, cheap to ask for again."""

import pytest

from local.config import PROJECT
from tests.system import System

ASSETS = {file.name: file.read_text() for file in sorted((PROJECT / "services" / "resolver" / "assets").iterdir())}


@pytest.mark.parametrize("name", ASSETS)
async def test_a_file_is_served_as_what_it_is_to_pages_of_any_site(whole: System, name: str) -> None:
    answer = await whole.http.get(f"/assets/{name}", headers={"Origin": "https://site.example.com"})
    assert answer.text == ASSETS[name]
    kind = "javascript" if name.endswith(".js") else "plain"
    assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=300"


async def test_who_holds_a_file_is_told_so(whole: System) -> None:
    etag = (await whole.http.get("/assets/listing-photos.js")).headers["ETag"]
    for held, status in ((etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200)):
        answer = await whole.http.get("/assets/listing-photos.js", headers={"If-None-Match": held})
        assert (answer.status_code, answer.headers["ETag"]) == (status, etag), held
        assert answer.headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("name", ["nothing.js", "..%2F__init__.py", "..%2Fassets.py", "%00", "__pycache__", ""])
async def test_there_is_nothing_else_to_have(whole: System, name: str) -> None:
    answer = await whole.http.get(f"/assets/{name}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
