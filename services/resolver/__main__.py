"""Run the resolver: `python -m services.resolver`."""

import uvloop

from services.resolver.app import serve
from shared.runtime import run

if __name__ == "__main__":
    run("resolver", serve, uvloop.new_event_loop)
