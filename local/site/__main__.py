"""Serve the example site: `python -m local.site --port 8060 --resolver http://127.0.0.1:8080 --listings FILE`."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from local.site.server import Listing, application, serve


def main() -> None:
    """Serve the example site with the command line's options until interrupted."""
    options = _arguments()
    serve(application(options.resolver, options.feed, partial(_read, options.listings)), options.port)


async def _read(file: Path) -> Sequence[Listing]:
    text = await asyncio.to_thread(file.read_text, encoding="utf-8")
    return list(json.loads(text))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.site", description="Serves an example of a listing site.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--resolver", required=True, help="where the resolver answers, such as http://127.0.0.1:8080")
    parser.add_argument("--feed", required=True, help="the feed that the listings belong to")
    parser.add_argument("--listings", type=Path, required=True, help="JSON: a list of {key, title, place, price}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
