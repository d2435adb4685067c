"""Test the files that frontends load: content types, access from any site, and conditional requests."""

import pytest

from local.config import PROJECT
from tests.system import System

ASSETS = {file.name: file.read_text() for file in sorted((PROJECT / "services" / "resolver" / "assets").iterdir())}


@pytest.mark.parametrize("name", ASSETS)
async def test_a_file_is_served_with_its_content_type_to_pages_of_any_site(whole: System, name: str) -> None:
    answer = await whole.http.get(f"/assets/{name}", headers={"Origin": "https://site.example.com"})
    assert answer.text == ASSETS[name]
    kind = "javascript" if name.endswith(".js") else "plain"
    assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=300"


async def test_a_request_with_the_current_etag_gets_304(whole: System) -> None:
    etag = (await whole.http.get("/assets/listing-photos.js")).headers["ETag"]
    for held, status in ((etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200)):
        answer = await whole.http.get("/assets/listing-photos.js", headers={"If-None-Match": held})
        assert (answer.status_code, answer.headers["ETag"]) == (status, etag), held
        assert answer.headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("name", ["nothing.js", "..%2F__init__.py", "..%2Fassets.py", "%00", "__pycache__", ""])
async def test_other_paths_are_404(whole: System, name: str) -> None:
    answer = await whole.http.get(f"/assets/{name}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
