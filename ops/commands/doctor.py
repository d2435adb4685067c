"""`imagectl doctor`: prints what is wrong, and what to do about it."""

from collections.abc import Mapping

import typer

from ops import doctor as checks
from ops import terminal
from ops.doctor import CheckResult, State
from shared.domain.feed import Feed
from shared.settings import Settings

app = typer.Typer()
_LABELS = {State.OK: "ok      ", State.FAULT: "FAULT   ", State.UNKNOWN: "unknown "}


@app.command(epilog="Example: imagectl doctor --json | jq '.[] | select(.state == \"fault\")'")
def doctor(as_json: terminal.Json = False) -> None:
    """Check servers, topics, buckets, clocks and services.

    Indexes and feeds are checked too. The exit code is 1 if there is a fault.
    """

    async def examine(settings: Settings, feeds: Mapping[str, Feed]) -> list[CheckResult]:
        results = list[CheckResult]()
        async for result in checks.examine(settings, feeds):
            results.append(result)
            if not as_json:
                _print(result)
        return results

    results = terminal.run(examine)
    if as_json:
        terminal.print_json([result.to_json() for result in results])
    if any(result.state is State.FAULT for result in results):
        raise typer.Exit(terminal.FAILED)


def _print(result: CheckResult) -> None:
    advice = f"\n         what to do: {result.advice}" if result.advice else ""
    terminal.print_line(f"{_LABELS[result.state]} {result.what}: {result.message}{advice}")
