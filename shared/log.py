"""Logging: each line is an event with fields. No line has a URL of the MLS or a token."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import structlog.testing

_OUR_PACKAGES = {"shared", "services", "ops", "local", "__main__"}
_MAX_LIBRARY_LINES = 10
_LIMIT_SECONDS = 60.0
_EXPECTED_MESSAGES = ("Unable connect to", "Topic %s not found in cluster metadata")


def configure(service: str, level: str, form: str) -> None:
    """Make this process write its log to standard output, with `service` as a field of each line.

    `level` is the name of a logging level, such as "info". `form` is "json" for one JSON object a line, or "console"
    for colored text. Of libraries, only warnings and errors are logged.
    """

    def add_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "service": service}  # not by a context variable: libraries log in threads of their own

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if form == "console" else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    handler.addFilter(_is_unexpected)
    handler.addFilter(LibraryLimit())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiokafka", "faust", "mode", "httpx", "httpcore", "pymongo", "kafka", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # urllib3 warns of each failed try of a request; our code logs the outcome of all tries.
    logging.getLogger("urllib3").setLevel(max(logging.ERROR, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class LibraryLimit(logging.Filter):
    """Lets each logger of a library write 10 lines a minute; the tenth line says that further lines are left out.

    In an outage of Kafka, aiokafka and Faust log each of their tries: 12,100 lines in 40 seconds. `monotonic` returns a
    time in seconds that never goes back. Loggers of our own packages have no limit.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lines: dict[str, tuple[float, int]] = {}
        """By logger: when its minute began, and how many lines it has written since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the line may be written; `logging` calls this method for each line.

        The text of the tenth line of a library's logger in a minute is extended.
        """
        if record.name.split(".", 1)[0] in _OUR_PACKAGES:
            return True
        now = self._monotonic()
        began, count = self._lines.get(record.name, (now, 0))
        if now - began >= _LIMIT_SECONDS:
            began, count = now, 0
        self._lines[record.name] = began, count + 1
        if count + 1 == _MAX_LIBRARY_LINES:
            record.msg = f"{record.getMessage()} (further lines of {record.name} are left out for a minute)"
            record.args = ()
        return count < _MAX_LIBRARY_LINES


@contextmanager
def silenced() -> Iterator[None]:
    """Drop all log lines in this context, for a command whose output is for people or is JSON."""
    with structlog.testing.capture_logs():
        yield


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return False for aiokafka's messages that Kafka or a topic is missing, else True.

    Services log these conditions themselves while they wait.
    """
    return not (record.name.startswith("aiokafka") and str(record.msg).startswith(_EXPECTED_MESSAGES))


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of the module `name`. Its methods take the name of an event and the event's fields.

    For example: `get(__name__).info("started", port=8080)`.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
