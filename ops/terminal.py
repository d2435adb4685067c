"""What every command shares: settings, faults in one line, progress, and output for people and for machines."""

import asyncio
import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from dotenv import dotenv_values
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from shared.domain.feed import Feed
from shared.kafka import BrokerUnavailable
from shared.settings import Settings, SettingsInvalid, load
from shared.stores.errors import Contention, StoreUnavailable

Result = TypeVar("Result")
Options = TypeVar("Options")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

FAILED, UNUSABLE_SETTINGS, INTERRUPTED = 1, 2, 130
LOCAL_STACK = Path(".local/stack.env")
_SERVERS = ("IMAGES_KAFKA", "IMAGES_MONGO", "IMAGES_S3_ENDPOINT")
_HINT = "Is it running, and do the settings name it? `imagectl config` shows them; `make up` starts a stack."


def with_options(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Return a decorator for a Typer command that takes its options as one dataclass.

    Each field is annotated as Typer wants a parameter annotated; `--help` lists the options in the order of the fields.
    """

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run_command(**given: Any) -> None:
            command(options(**given))

        run_command.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]  # what Typer reads
        return run_command

    return decorate


class _Console(Console):
    """A console that says it where its pipe is closed, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


_WIDER_THAN_ANY_TABLE = 100_000

out = _Console()
_unbounded = _Console(width=_WIDER_THAN_ANY_TABLE)
err = _Console(stderr=True)


def run(
    command: Callable[[Settings, Mapping[str, Feed]], Awaitable[Result]],
    interrupted: Callable[[], str] = lambda: "interrupted; running it again does no harm",
) -> Result:
    """Run a command with the settings; what is out of reach is said in one line, not as a traceback."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would write the same on the screen, and more
    settings, feeds = load_settings()

    async def call() -> Result:
        return await command(settings, feeds)

    try:
        return asyncio.run(call())
    except (BrokerUnavailable, StoreUnavailable) as fault:
        fail(f"{fault}\n{_HINT}")
    except Contention as error:
        fail(f"{error}\nIt is safe to run the command again.")
    except BrokenPipeError:  # of our own output: servers' faults are those above
        raise
    except OSError as fault:
        fail(str(fault))
    except KeyboardInterrupt:
        fail(interrupted(), code=INTERRUPTED)


def load_settings() -> tuple[Settings, Mapping[str, Feed]]:
    """Read the settings and the feeds; what is wrong with them is said, and ends the command."""
    _use_local_stack()
    try:
        return load()
    except SettingsInvalid as invalid:
        fail("\n".join(invalid.faults), code=UNUSABLE_SETTINGS)


def _use_local_stack() -> None:
    """Take the settings of the stack that was started here, unless a server is named that is not of it."""
    stack = dotenv_values(LOCAL_STACK)
    named = {name: value for name, value in dotenv_values(".env").items() if value} | os.environ
    if all(named[name] == stack.get(name) for name in _SERVERS if name in named):
        for name, value in stack.items():
            os.environ.setdefault(name, value or "")


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what went wrong and what to do, and end the command."""
    err.print(f"imagectl: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def feeds_named(name: str | None, feeds: Mapping[str, Feed], settings: Settings) -> list[Feed]:
    """Return the feed of this name, or all; an unknown one is said, and ends the command."""
    if name is not None and name not in feeds:
        fail(f"there is no feed {name!r} in {settings.feeds}; it has {', '.join(feeds)}")
    return [feeds[name]] if name else list(feeds.values())


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; without a terminal to ask at, `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} Give --yes to say so.")
    ask(question)


def asks(*, yes: bool) -> bool:
    """Whether to ask before what only costs much: a script, that cannot be asked, has said it by its command."""
    return not yes and sys.stdin.isatty()


def ask(question: str) -> None:
    """Ask; without a yes the command ends."""
    if not typer.confirm(question, err=True):
        fail("nothing was done")


def read_as(kind: Callable[[str], Result], text: str) -> Result:
    """Read what was typed; what cannot be read is said, and ends the command."""
    try:
        return kind(text)
    except ValueError as fault:
        fail(str(fault))


class _Rate(ProgressColumn):
    """How many a second, once there is something to say."""

    def render(self, task: Task) -> Text:
        done, seconds = task.fields["done"], task.elapsed or 0.0
        return Text(f"{done / seconds:,.0f}/s" if done and seconds else "")


def progress(*, quiet: bool) -> Progress:
    """Return a bar for long work, on the error stream; its tasks have fields `done`, a number, and `unit`.

    Where that is no terminal, nothing is shown: all that stayed in a file is a frame of some moment.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn("{task.percentage:>3.0f} %"),  # nothing where the total is not known
        TextColumn("{task.fields[done]:,} {task.fields[unit]}"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=quiet or not err.is_terminal)


def print_json(value: object) -> None:
    """Print a value for machines."""
    sys.stdout.write(json.dumps(value, default=in_json, indent=2) + "\n")


def in_json(value: object) -> str:
    """Write what JSON has no form for: a moment as RFC 3339 has it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def say(line: str) -> None:
    """Print a line for people, as it is."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def show(table: RenderableType) -> None:
    """Print a table; where there is no terminal, as wide as its content is: neither wrapped nor cut."""
    (out if out.is_terminal else _unbounded).print(table)
