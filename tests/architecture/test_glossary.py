"""Do names keep to docs/glossary.md? Words that it replaced stay away, and a class name means one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from local.config import PROJECT

PACKAGES = ("services", "shared", "ops", "local")
RETIRED = {
    "away": "unavailable",
    "freeze": "hold, or pause (of requests)",
    "heard": "read, or recorded",
    "hears": "reads",
    "kept": "cached",
    "lane": "subscription",
    "marks": "handled dead letters",
    "meant": "selected",
    "news": "changes, or events",
    "pace": "throughput",
    "paces": "throughputs",
    "remade": "rebuilt",
    "said": "announcement, or event",
    "stranger": "unreferenced",
    "strangers": "unreferenced",
    "tell": "report, or on_progress",
    "told": "reported",
    "undone": "reverted",
    "wish": "request",
}
"""The words that stood for the glossary's terms, by word of a name; each with the term."""
RETIRED_PHRASES = {
    "at_work": "in_flight",
    "in_hand": "in_flight",
    "in_work": "in_flight",
    "let_through": "selected",
    "of_feed": "the noun: listings, budget, ledger",
    "put_back": "deferred",
    "say_again": "republish",
    "see_through": "run",
}
RETIRED_NAMES = {"one": "the noun: listing_id, listing, photo, event, record"}
"""Names that may only be a part of another name."""
RETIRED_MODULES = {"front", "kept", "line", "news"}
ALLOWED = {
    "ops/commands/freeze.py": "the name of the command `imagectl freeze`, which docs and operators know",
}
"""Files whose names may have a retired word, each with the reason."""

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            yield str(path.relative_to(PROJECT)), ast.parse(path.read_text())


def names() -> Iterator[tuple[str, str]]:
    """Yield each name of a module, class, function or argument, with its place."""
    for path, module in modules():
        yield Path(path).stem, path
        for node in ast.walk(module):
            if isinstance(node, Scope):
                yield node.name, f"{path}:{node.lineno}"
            if isinstance(node, ast.arg):
                yield node.arg, f"{path}:{node.lineno}"


def words(name: str) -> str:
    """Return the words of a name in lower case, with _ around each."""
    return f"_{'_'.join(re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+', name))}_".lower()


def test_no_name_has_a_word_that_the_glossary_replaced() -> None:
    retired = {**RETIRED, **RETIRED_PHRASES}
    found = [
        f"{place} {name}: {word} is {term}"
        for name, place in names()
        for word, term in retired.items()
        if f"_{word}_" in words(name) and place.partition(":")[0] not in ALLOWED
    ]
    found += [
        f"{place} {name}: {RETIRED_NAMES[name.strip('_')]}"
        for name, place in names()
        if name.strip("_") in RETIRED_NAMES and place.partition(":")[0] not in ALLOWED
    ]
    assert found == []


def test_no_module_has_a_retired_name() -> None:
    assert [path for path, _ in modules() if Path(path).stem in RETIRED_MODULES] == []


SHARED_CLASS_NAMES = {"Variant": "the resolver's OpenAPI document publishes its model under this name"}
"""Class names that several modules may define, each with the reason."""


def test_no_class_name_is_defined_in_two_modules() -> None:
    """Private classes are left out: no other module sees them."""
    places = defaultdict(set)
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not (node.name.startswith("_") or node.name in SHARED_CLASS_NAMES):
                places[node.name].add(path)
    assert {name: sorted(paths) for name, paths in places.items() if len(paths) > 1} == {}
