"""docs/photo-life.md draws each transition of a photo; here each runs on examples, and must do what the page says."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import get_type_hints

import pytest

from local.config import PROJECT
from shared.domain import lifecycle
from shared.domain.image import Photo
from shared.domain.listing import Listing
from tests import photo_lives
from tests.builders import after
from tests.photo_lives import START, PhotoRun

PAGE = (PROJECT / "docs" / "photo-life.md").read_text()
OF_PHOTOS = photo_lives.announced() | photo_lives.requested() | photo_lives.attempted()
OF_LISTINGS = photo_lives.shown() | photo_lives.discarded()
PHOTO_RUNS = {name: list(runs) for name, runs in OF_PHOTOS.items()}
LISTING_RUNS = {name: list(runs) for name, runs in OF_LISTINGS.items()}

Edge = tuple[str, str, str]
"""A state, the state that a transition leads to, and the transition's name."""


def drawn(heading: str) -> set[Edge]:
    """Return the edges of the diagram below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    arrows = re.findall(r"^ +(\S+) --> (\S+): (.+)$", section, re.MULTILINE)
    return {(before, then, name) for before, then, names in arrows for name in names.split(", ")}


def rows() -> dict[str, tuple[str, set[str]]]:
    """Return, by transition, the page's callers and the fields that the page says it changes."""
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    return {name: (callers.strip(), set(re.findall(r"`(\w+)`", changes))) for name, callers, changes in found}


def edges(runs: Mapping[str, Iterable[PhotoRun]], state: Callable[[Photo | None], str]) -> set[Edge]:
    """Return the changes of state that the runs make."""
    found = {(state(before), state(then), name) for name, pairs in runs.items() for before, then in pairs}
    return {edge for edge in found if edge[0] != edge[1]}


def test_the_page_names_every_transition_and_no_other() -> None:
    public = {name: getattr(lifecycle, name) for name in lifecycle.__all__}
    functions = {name: function for name, function in public.items() if inspect.isfunction(function)}
    transitions = {name for name, function in functions.items() if get_type_hints(function)["return"] is not bool}
    assert set(rows()) == transitions
    assert set(PHOTO_RUNS) | set(LISTING_RUNS) == transitions, "each has its examples"


def test_every_public_transition_stands_below_the_link_to_its_file() -> None:
    for file, section in re.findall(
        r"\(\.\./shared/domain/lifecycle/(\w+)\.py\)(.*?)(?=\n### |\n## |\Z)", PAGE, re.DOTALL
    ):
        names = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert names
        for name in names:
            assert getattr(lifecycle, name).__module__ == f"shared.domain.lifecycle.{file}", name


def test_the_status_changes_as_drawn() -> None:
    assert drawn("Status") == edges(PHOTO_RUNS, photo_lives.status)


def test_the_work_on_a_photo_changes_as_drawn() -> None:
    passing = {
        (photo_lives.work(photo), photo_lives.work(photo, after(3_600)), "time") for photo in photo_lives.photos()
    }
    passing = {edge for edge in passing if edge[0] != edge[1]}
    assert drawn("Work") == edges(PHOTO_RUNS, photo_lives.work) | passing


def test_a_listing_is_hidden_and_shown_as_drawn() -> None:
    shown = {(state, "displayed", "show") for state in ("hidden", "held")}
    changes = {
        (photo_lives.visibility(before), photo_lives.visibility(then), name)
        for name, runs in LISTING_RUNS.items()
        for before, then in runs
    }
    assert drawn("Visibility") == {edge for edge in changes if edge[0] != edge[1]} | shown


def test_objects_are_removed_as_drawn() -> None:
    found = {("kept", "due", "time")}
    for name, runs in LISTING_RUNS.items():
        for before, then in runs:
            was, now = photo_lives.removals(before), photo_lives.removals(then)
            changes = {(was.get(key, START), now.get(key, START)) for key in was.keys() | now.keys()}
            found |= {(*change, name) for change in changes if change[0] != change[1]}
    assert drawn("Removal") == found


@pytest.mark.parametrize("name", sorted(PHOTO_RUNS.keys() - {"announce"}))
def test_a_transition_changes_the_fields_of_the_photo_that_the_page_names(name: str) -> None:
    pairs = [(before, then) for before, then in PHOTO_RUNS[name] if before]
    changed = {
        field.name for field in fields(Photo) for a, b in pairs if getattr(a, field.name) != getattr(b, field.name)
    }
    assert rows()[name][1] == changed


@pytest.mark.parametrize("name", sorted(LISTING_RUNS))
def test_a_transition_changes_the_fields_of_the_listing_that_the_page_names(name: str) -> None:
    pairs = LISTING_RUNS[name]
    changed = {
        field.name for field in fields(Listing) for a, b in pairs if getattr(a, field.name) != getattr(b, field.name)
    }
    assert rows()[name][1] == changed
