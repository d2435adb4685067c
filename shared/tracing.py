"""The door to OpenTelemetry, for those who want traces: off unless a collector is named and the extra is installed.

A trace is one photo's way, from the event that announced it to the news of its copy: every span of it derives the trace
from that event's id, so that nothing has to be handed from service to service.
"""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

from shared import log

_COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"
_logger = log.get(__name__)
_NANOSECONDS = 1_000_000_000
_LAST_MILLISECONDS = 2_000
"""What is not sent by then at the end is lost: a collector that is away holds no service up."""
Tell = Callable[[str, str, float, dict[str, str | int | bool]], None]
_teller: list[Tell] = []


def configure(service: str) -> Callable[[], object]:
    """Send spans to the collector at OTEL_EXPORTER_OTLP_ENDPOINT, if any; return what sends the last of them."""
    if not os.environ.get(_COLLECTOR):
        return lambda: None
    try:
        tell, close = _open_telemetry(service)
    except ImportError:
        _logger.warning("tracing-unavailable", hint=f"{_COLLECTOR} is set; install listing-images[otel] to have traces")
        return lambda: None
    _teller[:] = [tell]
    return close


def record_span(name: str, correlation_id: str, seconds: float, **facts: str | int | bool) -> None:
    """Tell of something that took so long and ended now. Does nothing without a collector."""
    if _teller and correlation_id:
        _teller[0](name, correlation_id, seconds, facts)


def _open_telemetry(service: str) -> tuple[Tell, Callable[[], object]]:
    from opentelemetry import trace  # noqa: PLC0415 - an extra: not there unless wanted
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(
        resource=Resource.create({"service.name": f"listing-images-{service}"}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("listing-images")

    def tell(name: str, correlation_id: str, seconds: float, facts: dict[str, Any]) -> None:
        digest = hashlib.sha256(correlation_id.encode()).digest()
        root = trace.SpanContext(
            trace_id=int.from_bytes(digest[:16], "big"), span_id=int.from_bytes(digest[16:24], "big"), is_remote=True,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )  # fmt: skip
        ended = time.time_ns()
        span = tracer.start_span(
            name, context=trace.set_span_in_context(trace.NonRecordingSpan(root)),
            start_time=ended - int(seconds * _NANOSECONDS), attributes={**facts, "correlation_id": correlation_id},
        )  # fmt: skip
        span.end(ended)

    return tell, lambda: provider.force_flush(_LAST_MILLISECONDS)
