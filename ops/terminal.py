"""What all commands share: settings and options, errors in one line, questions, progress, tables and JSON."""

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
"""Exit codes of `imagectl`."""
LOCAL_STACK = Path(".local/stack.env")
_SERVERS = ("IMAGES_KAFKA", "IMAGES_MONGO", "IMAGES_S3_ENDPOINT")
_HINT = "Is it running, and do the settings name it? `imagectl config` shows them; `make up` starts a stack."


def with_options(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Return a decorator for a function that takes its options as one dataclass: Typer sees each field as a parameter.

    `options` is the dataclass. Each field is annotated as Typer wants a parameter annotated; `--help` lists the options
    in the order of the fields.
    """

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run_command(**given: Any) -> None:
            command(options(**given))

        run_command.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]  # what Typer reads
        return run_command

    return decorate


class _Console(Console):
    """A console that raises BrokenPipeError if its reader closed the pipe; Rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


_MAX_TABLE_WIDTH = 100_000

out = _Console()
_wide_out = _Console(width=_MAX_TABLE_WIDTH)
err = _Console(stderr=True)


def run(
    command: Callable[[Settings, Mapping[str, Feed]], Awaitable[Result]],
    interrupted: Callable[[], str] = lambda: "interrupted; running it again does no harm",
) -> Result:
    """Run an asynchronous command with the settings and the feeds in force, and return its result.

    `command` is called with the settings and the feeds by name. Expected errors end the process with a message instead
    of a traceback: wrong settings, a server that does not answer, contention, a file that cannot be read, Ctrl-C.
    `interrupted` is called on Ctrl-C, and returns the message for it.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # aiokafka would log the same errors to the screen
    settings, feeds = load_settings()

    async def call() -> Result:
        return await command(settings, feeds)

    try:
        return asyncio.run(call())
    except (BrokerUnavailable, StoreUnavailable) as error:
        fail(f"{error}\n{_HINT}")
    except Contention as error:
        fail(f"{error}\nIt is safe to run the command again.")
    except BrokenPipeError:  # of our own output; a server's broken pipe is BrokerUnavailable or StoreUnavailable
        raise
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(interrupted(), code=INTERRUPTED)


def load_settings() -> tuple[Settings, Mapping[str, Feed]]:
    """Return the settings in force and the feeds by name.

    If they are wrong, the process ends with a message that names all faults, and with exit code 2. If `make up` started
    a stack in this directory, the stack's settings are used where the environment and `.env` have none.
    """
    _use_local_stack()
    try:
        return load()
    except SettingsInvalid as error:
        fail("\n".join(error.faults), code=UNUSABLE_SETTINGS)


def _use_local_stack() -> None:
    """Add the variables of the stack that `make up` started in this directory to the environment of this process.

    A variable that is set already keeps its value. Nothing is added if the environment or `.env` names another server.
    """
    stack = dotenv_values(LOCAL_STACK)
    named = {name: value for name, value in dotenv_values(".env").items() if value} | os.environ
    if all(named[name] == stack.get(name) for name in _SERVERS if name in named):
        for name, value in stack.items():
            os.environ.setdefault(name, value or "")


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print on the error stream what went wrong and what to do, and end the process with this exit code.

    It raises typer.Exit, on which Typer ends the process.
    """
    err.print(f"imagectl: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def select_feeds(name: str | None, feeds: Mapping[str, Feed], settings: Settings) -> list[Feed]:
    """Return a list of the one feed of this name, or of all feeds if `name` is None.

    `feeds` has all feeds by name. Ends the process if there is no feed of this name; `settings` serves only to name the
    file of the feeds in the message.
    """
    if name is not None and name not in feeds:
        fail(f"there is no feed {name!r} in {settings.feeds}; it has {', '.join(feeds)}")
    return [feeds[name]] if name else list(feeds.values())


def require_consent(question: str, *, yes: bool) -> None:
    """Ask the user before a change that cannot be undone, and end the process unless the answer is yes.

    `yes` is True if the option `--yes` was given: then nothing is asked. Without a terminal nobody can be asked; the
    process ends if `yes` is False.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} Give --yes to say so.")
    ask(question)


def is_to_ask(*, yes: bool) -> bool:
    """Return True if the user must confirm a costly change: at a terminal without `--yes`. Scripts are not asked.

    `yes` is True if the option `--yes` was given.
    """
    return not yes and sys.stdin.isatty()


def ask(question: str) -> None:
    """Ask the user a question at the terminal. Ends the process unless the answer is yes."""
    if not typer.confirm(question, err=True):
        fail("nothing was done")


def parse(parser: Callable[[str], Result], text: str) -> Result:
    """Call `parser` with an option's text, and return its result.

    If `parser` raises ValueError, the process ends with the error's message.
    """
    try:
        return parser(text)
    except ValueError as error:
        fail(str(error))


class _Rate(ProgressColumn):
    """A column of a progress bar: how many items are done in a second. It is empty until an item is done."""

    def render(self, task: Task) -> Text:
        done, seconds = task.fields["done"], task.elapsed or 0.0
        return Text(f"{done / seconds:,.0f}/s" if done and seconds else "")


def progress(*, quiet: bool) -> Progress:
    """Return a progress bar on the error stream, to be used as a context manager.

    The caller must give each task of the progress bar two fields: `done`, the number of items that are done, and
    `unit`, the items' noun. Nothing is shown if `quiet`, or if the error stream is not a terminal.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn("{task.percentage:>3.0f} %"),  # empty if the total is not known
        TextColumn("{task.fields[done]:,} {task.fields[unit]}"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=quiet or not err.is_terminal)


def print_json(value: object) -> None:
    """Print a value as indented JSON on standard output; values of types that JSON lacks become texts."""
    sys.stdout.write(json.dumps(value, default=to_json, indent=2) + "\n")


def to_json(value: object) -> str:
    """Return a value that JSON has no type for as a string: a time in RFC 3339, anything else as its text. Pure.

    `json.dumps` takes this function as its argument `default`.
    """
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_line(line: str) -> None:
    """Print a line of text on standard output as it is, without markup, colours and wrapping."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def print_table(table: RenderableType) -> None:
    """Print a table on standard output.

    Without a terminal the table is as wide as its content, so that nothing is wrapped or cut.
    """
    (out if out.is_terminal else _wide_out).print(table)
