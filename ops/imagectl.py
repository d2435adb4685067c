"""What an operator does from a terminal. Every command says what it did; `--json` says it to machines."""

import typer

from ops.commands import (
    audit,
    compliance,
    config,
    dead_letters,
    doctor,
    explain,
    force,
    freeze,
    indexes,
    init,
    publish,
    rebuild,
    removals,
    replay,
    status,
    sweep,
    topics,
)

app = typer.Typer(
    name="imagectl",
    help="Operate listing-images. Settings come from the environment and `.env`, or from the stack that `make up` "
    "started here where neither names a server of another.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (status, explain, doctor, force, freeze, replay, publish, rebuild, audit, compliance, init, config):
    app.add_typer(command.app)
app.add_typer(removals.app, name="removals")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sweep.app, name="sweep")
app.add_typer(topics.app, name="topics")
app.add_typer(indexes.app, name="indexes")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
