"""Run the benchmarks: `python -m bench [NAME …]`. Prints a table and writes bench-results.json."""

import asyncio
import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import budget, desk, listings, memory, photos, removals, replay, resolver, scale
from bench.rows import Row
from tests.servers import running

BENCHMARKS = {
    "budget": budget.run,
    "desk": desk.run,
    "listings": listings.run,
    "memory": memory.run,
    "photos": photos.run,
    "removals": removals.run,
    "replay": replay.run,
    "resolver": resolver.run,
    "scale": scale.run,
}
RESULTS = Path("bench-results.json")


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, all if `names` is empty; print their rows and write bench-results.json.

    Return the exit code: 0, or 2 for an unknown name, in which case nothing is run.
    """
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    console, rows = Console(), list[Row]()
    with running() as servers:
        for name in names or BENCHMARKS:
            with console.status(f"measuring {name}"):
                rows += asyncio.run(BENCHMARKS[name](servers))
    console.print(_table(rows))
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    results = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
    RESULTS.write_text(json.dumps({"machine": machine, "rows": results}, indent=2) + "\n")
    return 0


def _table(rows: list[Row]) -> Table:
    table = Table("measurement", box=None, header_style="bold")
    for heading in ("result", "baseline", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("what the baseline is")
    for row in rows:
        baseline = f"{row.baseline:,.1f}" if row.baseline else ""
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        table.add_row(row.name, f"{row.value:,.1f} {row.unit}", baseline, ratio, row.against)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
