"""What does a service log, and which messages of libraries does it leave out?"""

import json
import logging
import subprocess
import sys

from local.config import PROJECT
from shared.log import LibraryLimit

PROGRAM = """
import logging, threading
from shared import log
log.configure("resolver", "info", "json")
logging.getLogger("aiokafka.cluster").error("Topic %s not found in cluster metadata", "image-removed")
logging.getLogger("aiokafka.client").error('Unable connect to "%s:%s": %s', "127.0.0.1", 9, "refused")
logging.getLogger("aiokafka.consumer").error("Heartbeat failed")
thread = threading.Thread(target=logging.getLogger("faust.consumer").error, args=["Lost the broker"])
thread.start()
thread.join()
log.get("services.resolver").warning("waiting-for-topics", missing=["image-removed"])
"""


def test_aiokafkas_errors_about_awaited_conditions_are_not_logged() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["Heartbeat failed", "Lost the broker", "waiting-for-topics"]
    assert {line["service"] for line in lines} == {"resolver"}


def written(limit: LibraryLimit, name: str, lines: int) -> list[str]:
    """Return the texts of those of `lines` lines of a logger that may be written."""
    records = [logging.LogRecord(name, logging.ERROR, "f.py", 1, "try %s", (number,), None) for number in range(lines)]
    return [record.getMessage() for record in records if limit.filter(record)]


def test_a_library_that_logs_each_try_is_cut_off_and_the_log_says_so() -> None:
    now = [0.0]
    limit = LibraryLimit(lambda: now[0])
    lines = written(limit, "aiokafka.conn", 300)
    assert lines[:9] == [f"try {number}" for number in range(9)]
    assert lines[9:] == ["try 9 (further lines of aiokafka.conn are left out for a minute)"]
    assert len(written(limit, "faust.app", 3)) == 3
    now[0] = 60.0
    assert len(written(limit, "aiokafka.conn", 3)) == 3


def test_our_own_lines_are_never_left_out() -> None:
    assert len(written(LibraryLimit(), "services.downloader.reporting", 300)) == 300
