"""The command line `imagectl`: all that operators do from a terminal. Each command prints what it did, or JSON."""

import os
import sys

import typer
from typer.core import TyperGroup

from ops.commands import (
    audit,
    compliance,
    config,
    connect,
    dead_letters,
    doctor,
    explain,
    force,
    freeze,
    indexes,
    init,
    placeholders,
    publish,
    rebuild,
    removals,
    replay,
    status,
    sweep,
    topics,
)

PIPE_CLOSED = 141
"""The exit code that a shell reports for a tool that SIGPIPE ended.

Python ignores SIGPIPE, and this process does too: the signal would also end it if a server closed a connection.
"""


class _Commands(TyperGroup):
    """All commands of `imagectl`. A command whose reader closes the output pipe ends quietly, with exit code 141."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None


app = typer.Typer(
    name="imagectl",
    cls=_Commands,
    help="Operate listing-images. Settings come from the environment and `.env`. Settings that both lack come from "
    "the stack that `make up` started here, unless one of them names another Kafka, MongoDB or object storage.",
    epilog="Example: imagectl status --help",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    status,
    explain,
    doctor,
    force,
    freeze,
    replay,
    publish,
    rebuild,
    audit,
    compliance,
    init,
    config,
    connect,
):
    app.add_typer(command.app)
app.add_typer(removals.app, name="removals")
app.add_typer(placeholders.app, name="placeholders")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sweep.app, name="sweep")
app.add_typer(topics.app, name="topics")
app.add_typer(indexes.app, name="indexes")


def main() -> None:
    """Run the command of `imagectl` that the process's arguments name, and end the process with its exit code."""
    app()


if __name__ == "__main__":
    main()
