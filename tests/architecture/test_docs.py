"""Do the documents match the code?"""

import re

from typer.main import get_command

from local.config import PROJECT
from ops.imagectl import app
from shared.domain.failures import REASONS


def test_the_table_of_failures_equals_the_code() -> None:
    text = (PROJECT / "docs" / "failures.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (final|tried again) \|$", text, re.MULTILINE)
    expected = [
        (reason.value, rule.meaning, "final" if rule.is_final else "tried again") for reason, rule in REASONS.items()
    ]
    assert rows == expected


def test_every_target_and_command_that_the_readme_names_exists() -> None:
    readme = (PROJECT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", readme)) <= targets
    commands = set(re.findall(r"imagectl ([a-z-]+)", readme))
    assert commands <= set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_file_that_the_documents_link_to_exists() -> None:
    for document in (PROJECT / "README.md", PROJECT / "ARCHITECTURE.md", *(PROJECT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_path_that_the_architecture_names_exists() -> None:
    for path in re.findall(
        r"`((?:shared|services|ops|local|docs)/[\w./]*)`", (PROJECT / "ARCHITECTURE.md").read_text()
    ):
        assert (PROJECT / path).exists(), path
