"""`imagectl doctor`: what is wrong, and what to do."""

import dataclasses
from collections.abc import Mapping

import typer

from ops import doctor as examining
from ops import terminal
from ops.doctor import CheckResult, State
from shared.domain.feed import Feed
from shared.settings import Settings

app = typer.Typer()
_SIGNS = {State.OK: "ok      ", State.FAULT: "FAULT   ", State.UNKNOWN: "unknown "}


@app.command(epilog="Example: imagectl doctor --json | jq '.[] | select(.state == \"fault\")'")
def doctor(as_json: terminal.Json = False) -> None:
    """Check servers, topics, buckets, clocks and services.

    Also indexes and feeds; the exit code is 1 where something is wrong.
    """

    async def examine(settings: Settings, feeds: Mapping[str, Feed]) -> list[CheckResult]:
        found = list[CheckResult]()
        async for finding in examining.examine(settings, feeds):
            found.append(finding)
            if not as_json:
                _show(finding)
        return found

    found = terminal.run(examine)
    if as_json:
        terminal.print_json([dataclasses.asdict(finding) for finding in found])
    if any(finding.state is State.FAULT for finding in found):
        raise typer.Exit(terminal.FAILED)


def _show(finding: CheckResult) -> None:
    advice = f"\n         what to do: {finding.advice}" if finding.advice else ""
    terminal.say(f"{_SIGNS[finding.state]} {finding.what}: {finding.said}{advice}")
