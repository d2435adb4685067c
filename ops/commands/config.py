"""`imagectl config`: prints every setting in force."""

import json

import typer

from ops import config as configured
from ops import terminal

app = typer.Typer()


@app.command(epilog="Example: imagectl config --json")
def config(as_json: terminal.Json = False) -> None:
    """Show every setting in force, and each feed's rules. Secrets are hidden."""
    found = configured.to_json(*terminal.load_settings())
    if as_json:
        terminal.print_json(found)
        return
    for name, value in found["settings"].items():
        terminal.print_line(f"{name}={value}")
    for name, rules in found["feeds"].items():
        terminal.print_line(f"\n[feeds.{name}]")
        for key, value in rules.items():
            terminal.print_line(f"{key} = {json.dumps(value)}")
