"""Run the desk: `python -m services.desk`."""

from services.desk.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("desk", serve)
