"""What does a service log, and which messages of libraries does it leave out?"""

import json
import subprocess
import sys

from local.config import PROJECT

PROGRAM = """
import logging
from shared import log
log.configure("resolver", "info", "json")
logging.getLogger("aiokafka.cluster").error("Topic %s not found in cluster metadata", "image-removed")
logging.getLogger("aiokafka.client").error('Unable connect to "%s:%s": %s', "127.0.0.1", 9, "refused")
logging.getLogger("aiokafka.consumer").error("Heartbeat failed")
log.get("services.resolver").warning("waiting-for-topics", missing=["image-removed"])
"""


def test_aiokafkas_errors_about_awaited_conditions_are_not_logged() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["Heartbeat failed", "waiting-for-topics"]
    assert {line["service"] for line in lines} == {"resolver"}
