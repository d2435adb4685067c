"""Every command has help, and refuses senseless arguments before it changes anything."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from local.config import PROJECT
from ops.imagectl import app

RUNNER = CliRunner()
LINES_ARE_ITS_DATA = {("export",)}
"""These print JSON lines whatever is asked."""


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Yield each command of the group and its subgroups, with its path."""
    for name, found in group.commands.items():
        if isinstance(found, TyperGroup):
            yield from commands(found, (*path, name))
        else:
            assert isinstance(found, TyperCommand)
            yield (*path, name), found


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, TyperGroup)
ALL = list(commands(ROOT))
NAMES = set(ROOT.commands)
GROUPS = [(), *((name,) for name, found in ROOT.commands.items() if isinstance(found, TyperGroup))]
ONE_OF_A_FEW = {"priority"}
"""These name all that can be given."""


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_command_has_help_with_an_example_and_json(path: tuple[str, ...], command: TyperCommand) -> None:
    done = RUNNER.invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert command.help
    assert f"Example: imagectl {' '.join(path)}" in " ".join(done.output.split())
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or path in LINES_ARE_ITS_DATA


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_placeholders_of_values_are_in_capitals(path: tuple[str, ...], command: TyperCommand) -> None:
    given = [
        parameter
        for parameter in command.params
        if not getattr(parameter, "is_flag", False) and parameter.name not in ONE_OF_A_FEW
    ]
    assert all(parameter.metavar and parameter.metavar.isupper() for parameter in given), [
        parameter.name for parameter in given
    ]


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_every_group_says_in_a_line_what_its_commands_do_and_has_an_example(path: tuple[str, ...]) -> None:
    done = RUNNER.invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    _, _, summaries = done.stdout.partition("Commands:")
    assert "..." not in summaries
    assert f"Example: {' '.join(('imagectl', *path))} " in summaries


def test_the_readme_names_every_command() -> None:
    table = (PROJECT / "README.md").read_text().split("## Operate it")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `imagectl ([^|]+)\|", table, flags=re.MULTILINE)
    named = {re.sub(r"^imagectl ", "", usage).split()[0] for row in rows for usage in row.replace("`", "").split(", ")}
    assert named == NAMES


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set settings whose servers do not exist."""
    feeds = tmp_path / "feeds.toml"
    feeds.write_text('[feeds.sandbox]\nimage_hosts = ["images.example.com"]\n')
    monkeypatch.setenv("IMAGES_FEEDS", str(feeds))
    monkeypatch.setenv("IMAGES_KAFKA", "127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("named", "in_env_file", "is_used"),
    [
        ({}, "", True),
        ({"IMAGES_KAFKA": "given:9"}, "", True),
        ({}, "IMAGES_KAFKA=given:9", True),
        ({"IMAGES_KAFKA": "another:9"}, "", False),
        ({"IMAGES_KAFKA": "given:9", "IMAGES_MONGO": "mongodb://another"}, "", False),
        ({}, "IMAGES_KAFKA=another:9", False),
    ],
)
def test_the_stack_started_here_is_used_unless_a_server_of_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, str], in_env_file: str, is_used: bool
) -> None:
    (tmp_path / "feeds.toml").write_text('[feeds.sandbox]\nimage_hosts = ["images.example.com"]\n')
    (tmp_path / ".env").write_text(in_env_file)
    (tmp_path / ".local").mkdir()
    stack = {"IMAGES_KAFKA": "given:9", "IMAGES_MONGO": "mongodb://ours", "IMAGES_MONGO_DB": "of_the_stack"}
    (tmp_path / ".local" / "stack.env").write_text("".join(f"{name}={value}\n" for name, value in stack.items()))
    others = {name: value for name, value in os.environ.items() if not name.startswith("IMAGES_")}
    monkeypatch.setattr(os, "environ", others | named)
    monkeypatch.chdir(tmp_path)
    done = RUNNER.invoke(app, ["config", "--json"])
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout)["settings"]["IMAGES_MONGO_DB"] == "of_the_stack") is is_used


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("force", "name listings, or say --feed"),
        ("force X1 --feed nobody", "there is no feed 'nobody'"),
        ("freeze nobody", "there is no feed 'nobody'"),
        ("freeze sandbox --for soon", "'soon' is not a duration"),
        ("replay dead-letter --from 1h", "cannot be replayed; there is listing-seen"),
        ("replay listing-seen", "say --from, --file or --resume"),
        ("replay listing-seen --from yesterday", "'yesterday' is not a time"),
        ("replay listing-seen --from 1h", "Give --yes"),
        ("replay listing-seen --file nowhere --yes", "nowhere is not a file"),
        ("replay listing-seen --resume x", "is not what an interrupted replay printed"),
        ("dead-letters requeue", "name offsets, or say"),
        ("dead-letters drop --all", "Give --yes"),
        ("placeholders mark nobody x", "there is no feed 'nobody'"),
        ("export nothing --from 1h", "there is no topic 'nothing'"),
    ],
)
def test_a_senseless_command_is_refused_with_advice(line: str, message: str) -> None:
    done = RUNNER.invoke(app, line.split())
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


@pytest.mark.usefixtures("settings")
def test_a_file_that_was_not_exported_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"key": "X1", "value": null}\nnot JSON\n')
    done = RUNNER.invoke(app, ["replay", "image-removed", "--file", str(file), "--yes", "--listing", "none"])
    assert (done.exit_code, "line 2 is not what `imagectl export` writes" in done.stderr) == (1, True), done.stderr
