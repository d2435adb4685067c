"""A photo's facts change in one place, shared/domain/lifecycle, and docs/photo-life.md says who calls it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

from local.config import PROJECT
from shared.domain import lifecycle
from shared.domain.image import Photo

PACKAGE = PROJECT / "shared" / "domain" / "lifecycle"
DOCUMENTS = "shared/stores/documents.py"
FACTS = {field.name for field in fields(Photo)} | {
    *("rendering", "mls_changed_at", "checked_at"),  # of a copy
    *("removing", "remove_at", "public_keys", "original_keys"),  # of a discard
    *("hidden", "held_until", "off_market_at", "is_removed_by_operator", "removed_image_ids"),  # of a listing
}
MADE_THERE = {"Photo", "Claim", "Discard", "Hidden"}
ELSEWHERE = {("shared/domain/reconcile.py", "hidden")}
"""Writes what `lifecycle.hide` returns into the listing."""


@cache
def production() -> dict[Path, ast.Module]:
    """Return the syntax trees of production code outside the package, by path."""
    paths = [path for folder in ("shared", "services", "ops") for path in sorted((PROJECT / folder).rglob("*.py"))]
    return {path: ast.parse(path.read_text()) for path in paths if PACKAGE not in path.parents}


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield each call in production code: the file's path, the call, and the name of what is called."""
    for path, tree in production().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                yield str(path.relative_to(PROJECT)), node, name


def test_a_photos_facts_are_replaced_in_the_lifecycle_alone() -> None:
    found = {
        (path, call.lineno, keyword.arg)
        for path, call, name in calls()
        for keyword in call.keywords
        if name == "replace" and (keyword.arg in FACTS or keyword.arg is None) and (path, keyword.arg) not in ELSEWHERE
    }
    assert not found


def test_photos_claims_and_discards_are_made_in_the_lifecycle_alone() -> None:
    found = {(path, call.lineno, name) for path, call, name in calls() if name in MADE_THERE and path != DOCUMENTS}
    assert not found


def caller(path: Path) -> str:
    """Return what the page calls a file: its service, or its module."""
    match path.relative_to(PROJECT).with_suffix("").parts:
        case ("services", service, *_):
            return service
        case ("shared", "domain", module):
            return module
        case parts:
            return ".".join(parts)


def test_the_page_names_the_callers_of_each_transition() -> None:
    page = (PROJECT / "docs" / "photo-life.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", page, re.MULTILINE)
    written = {name: set(callers.split(", ")) for name, callers in rows}
    found: dict[str, set[str]] = {name: set() for name in written}
    for path, tree in production().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "lifecycle" and node.attr in found:
                found[node.attr].add(caller(path))
    assert found == written


def test_transitions_are_called_by_the_name_of_their_package() -> None:
    """A reader sees `lifecycle.release(photo, now)`, and the test of the callers finds it."""
    for path, tree in production().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared.domain.lifecycle"):
                imported = {alias.name for alias in node.names}
                functions = {name for name in imported if callable(getattr(lifecycle, name)) and name.islower()}
                assert not functions, f"{path} line {node.lineno}"
