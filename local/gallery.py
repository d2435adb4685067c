"""Show the listings of a feed of the running stack in a gallery: `python -m local.gallery [--feed NAME]`."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from local import config, ports, stack
from local.ports import http_status
from local.processes import LocalError, Process, Program, ensure, lock
from shared.settings import read_feeds

_PORT = 8061
NAME = "gallery"


def show(feed: str, home: Path = stack.HOME) -> str:
    """Serve the gallery of a feed in the background, and return its address. `make down` stops it.

    `feed` may be "" if feeds.toml has one feed. `home` is the directory of the stack's files.

    Raises:
        LocalError: no stack runs, or the feed is not known.
    """
    settings = config.saved_settings(home)
    if not settings or not Process("resolver", home).running():
        raise LocalError("no stack runs here; start it by `make up`")
    feeds = read_feeds(Path(settings["IMAGES_FEEDS"]))
    if feed not in feeds and (feed or len(feeds) != 1):
        raise LocalError(f"name one of the feeds: make gallery FEED={next(iter(feeds))}; there are {', '.join(feeds)}")
    port = _choose_port(home)
    program = Program(
        name=NAME,
        command=[sys.executable, "-m", "local.site.recorded", "--port", str(port), "--feed", feed or next(iter(feeds))],
        environment=_environment(settings),
        answers=lambda: http_status(port, "/") == 200,
        address=f"http://127.0.0.1:{port}",
    )
    with lock(home, print):
        ensure([program], home, config.PROJECT, lambda _: None)
    return program.address


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: settings[name] for name in ("IMAGES_MONGO", "IMAGES_MONGO_DB", "IMAGES_RESOLVER_PORT")}


def _choose_port(home: Path) -> int:
    """Return the gallery's port: that of its last start if it can be used, else a free one."""
    file = home / "gallery.json"
    previous = json.loads(file.read_text()) if file.exists() else {}
    ours = {previous[NAME]} if NAME in previous and Process(NAME, home).running() else set()
    chosen = ports.assign([NAME], previous, ours, {NAME: _PORT})
    file.write_text(json.dumps(chosen))
    return chosen[NAME]


def main() -> int:
    """Show the gallery, and return the exit code: 0, or 1 if it cannot be shown."""
    parser = argparse.ArgumentParser(prog="python -m local.gallery", description="Shows a feed's listings.")
    parser.add_argument("--feed", default="", help="the feed; needed if feeds.toml has several")
    try:
        address = show(parser.parse_args().feed)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the gallery: {address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
