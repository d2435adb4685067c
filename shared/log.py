"""Logs are events with fields, one line a thing that happened; never a URL of the MLS, never a token."""

import logging
import sys

import structlog

_WAITED_FOR = ("Unable connect to", "Topic %s not found in cluster metadata")


def configure(service: str, level: str, form: str) -> None:
    """Send this process's logs to standard output as JSON lines, or readable on a console."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
    handler.addFilter(_is_news)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiokafka", "faust", "mode", "httpx", "httpcore", "pymongo", "kafka", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # It warns of each try of each call; what comes of them all is told by the one who called.
    logging.getLogger("urllib3").setLevel(max(logging.ERROR, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what aiokafka calls an error and the services wait for, saying so in words of their own."""
    return not (record.name.startswith("aiokafka") and str(record.msg).startswith(_WAITED_FOR))


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose calls name an event and its fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
