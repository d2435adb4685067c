"""Runs the downloader: `python -m services.downloader`."""

import uvloop

from services.downloader.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("downloader", serve, uvloop.new_event_loop)
