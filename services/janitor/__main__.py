"""Run the janitor: `python -m services.janitor`."""

from services.janitor.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("janitor", serve)
