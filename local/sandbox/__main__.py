"""Run the sandbox MLS: `python -m local.sandbox --port 8090 --listings 40 --photos 8 [--vendor mlsgrid]`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from local.sandbox import NoPictures, Sandbox, vendors
from local.sandbox.access import CLIENT_ID, CLIENT_SECRET


def main() -> int:
    """Serve the sandbox MLS until interrupted.

    Return the exit code: 0, or 2 if the arguments or the port cannot be used.
    """
    options = _arguments()
    try:
        mls = Sandbox(
            listings=options.listings,
            photos=options.photos,
            folder=options.folder,
            port=options.port,
            cache=options.cache,
            vendor=options.vendor,
            switches=options.switch,
        )
        asyncio.run(_serve(mls))
    except (NoPictures, ValueError, OSError) as error:
        print(f"sandbox MLS: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.sandbox", description="Serves a small MLS on this machine.")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any free port")
    parser.add_argument("--listings", type=_count, default=40)
    parser.add_argument("--photos", type=_count, default=8, help="photos of each listing")
    parser.add_argument(
        "--folder", type=Path, help="show the JPEG, PNG and WebP files of this folder instead of drawings"
    )
    parser.add_argument("--cache", type=Path, help="keep drawn pictures in this folder (a temporary one)")
    parser.add_argument("--vendor", choices=vendors.NAMES, default="generic", help="whose rules the Web API has")
    known = "; ".join(f"{name}: {', '.join(found)}" for name in vendors.NAMES if (found := vendors.switches_of(name)))
    parser.add_argument("--switch", action="append", default=[], help=f"a contested rule, the other way ({known})")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 10000")
    return int(text)


async def _serve(mls: Sandbox) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with mls:
        print(f"sandbox MLS: {mls.url}", flush=True)
        if mls.vendor.access.kind == "client-credentials":
            print(f"Web API: {mls.web_api}, client {CLIENT_ID}, secret {CLIENT_SECRET}", flush=True)
        elif mls.token:
            print(f"Web API: {mls.web_api}, token {mls.token}", flush=True)
        drawing = asyncio.create_task(mls.draw_ahead())
        await stop.wait()
        drawing.cancel()


if __name__ == "__main__":
    sys.exit(main())
