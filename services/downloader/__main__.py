"""Runs the downloader: `python -m services.downloader`."""

import uvloop

from services.downloader import containment
from services.downloader.app import serve
from shared.runtime import run

if __name__ == "__main__":
    containment.hide_memory()  # from the children that decode untrusted bytes
    run("downloader", serve, uvloop.new_event_loop)
