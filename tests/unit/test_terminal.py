"""What does a command print without a terminal: into a file, a pipe, or a closed pipe?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from local.config import PROJECT
from ops import terminal
from ops.dead_letters import Group
from ops.imagectl import PIPE_CLOSED, app
from shared.stores.errors import Contention
from tests.builders import NOW


def test_a_file_gets_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress(quiet=False) as progress:
        progress.update(progress.add_task("removing", total=None, done=0, unit="listings"), done=39)
    assert capsys.readouterr().err == ""


def test_a_file_gets_a_table_neither_wrapped_nor_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = f"'listing-seen.v9' is not carried by this topic; {'it goes on ' * 40}to its end"
    group = Group(reason=reason, service="janitor", topic="listing-seen", letters=1, oldest=NOW, newest=NOW, example=17)
    monkeypatch.setattr(terminal, "run", lambda _: [group])
    _, line = CliRunner().invoke(app, ["dead-letters", "list"]).stdout.splitlines()
    assert reason in line


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"]])
def test_a_command_ends_quietly_if_its_pipe_is_closed(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "feeds.toml").write_text('[feeds.sandbox]\nimage_hosts = ["images.example.com"]\n')
    seen, written = os.pipe()
    os.close(seen)
    done = subprocess.run(
        [sys.executable, "-m", "ops.imagectl", *arguments], cwd=tmp_path, stdout=written, stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(PROJECT)}, timeout=30, check=False,
    )  # fmt: skip
    os.close(written)
    assert (done.returncode, done.stderr) == (PIPE_CLOSED, b"")


@pytest.mark.usefixtures("settings")
def test_a_pipe_that_closes_in_the_middle_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    async def write(*_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        terminal.run(write)
    assert capsys.readouterr().err == ""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set valid settings."""
    (tmp_path / "feeds.toml").write_text('[feeds.sandbox]\nimage_hosts = ["images.example.com"]\n')
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("settings")
def test_contention_is_printed_with_the_advice_that_another_run_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    async def write(*_: object) -> None:
        raise Contention("2 listings of sandbox were not written: others changed them before each of 20 attempts")

    with pytest.raises(typer.Exit) as ended:
        terminal.run(write)
    assert ended.value.exit_code == terminal.FAILED
    printed = capsys.readouterr().err
    assert "2 listings of sandbox were not written" in printed
    assert "It is safe to run the command again." in printed
