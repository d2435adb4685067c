"""Run the scheduler: `python -m services.scheduler`."""

from services.scheduler.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("scheduler", serve)
