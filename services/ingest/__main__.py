"""Run the ingest: `python -m services.ingest`."""

from services.ingest.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("ingest", serve)
