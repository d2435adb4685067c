"""`imagectl topics`: creates the Kafka topics of the manifest, and shows how they differ from it."""

from collections.abc import Mapping

import typer

from ops import terminal
from shared import kafka
from shared.domain.feed import Feed
from shared.events.topics import MANIFEST
from shared.settings import Settings

app = typer.Typer(
    help="Create Kafka's topics, or compare them with the manifest.",
    epilog="Example: imagectl topics diff",
    no_args_is_help=True,
)


@app.command("apply", epilog="Example: imagectl topics apply")
def apply(as_json: terminal.Json = False) -> None:
    """Create the topics that are missing and set the retention of all."""

    async def apply(settings: Settings, _: Mapping[str, Feed]) -> dict[str, str]:
        return await kafka.apply_topics(settings.kafka, settings.topic_prefix, MANIFEST)

    outcomes = terminal.run(apply)
    if as_json:
        terminal.print_json(outcomes)
    else:
        for topic, outcome in outcomes.items():
            terminal.print_line(f"{topic}: {outcome}")


@app.command("diff", epilog="Example: imagectl topics diff || imagectl topics apply")
def diff(as_json: terminal.Json = False) -> None:
    """Show how the topics differ from their manifest. Nothing is changed; the exit code is 1 if one differs."""

    async def compare(settings: Settings, _: Mapping[str, Feed]) -> dict[str, list[str]]:
        return await kafka.topic_differences(settings.kafka, settings.topic_prefix, MANIFEST)

    differences = terminal.run(compare)
    if as_json:
        terminal.print_json(differences)
    else:
        for topic, faults in differences.items():
            terminal.print_line(f"{topic}: {'; '.join(faults) or 'as it should be'}")
    if any(differences.values()):
        raise typer.Exit(terminal.FAILED)
