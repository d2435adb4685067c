"""Run the downloader: `python -m services.downloader`."""

from services.downloader.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("downloader", serve)
