"""Sends traces through OpenTelemetry, if a collector is configured and the extra `otel` is installed.

A trace follows a photo from the event that announced it to the event of its copy. Each service computes the trace's id
from the correlation id, so that events need not carry it.
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
_FLUSH_MILLISECONDS = 2_000
"""Spans that are not sent within this time at the end are lost: a dead collector must not delay a stopping service."""
SpanRecorder = Callable[[str, str, float, dict[str, str | int | bool]], None]
"""Records a span: takes its name, the correlation id, its length in seconds, and its attributes."""
_recorder: list[SpanRecorder] = []
"""Empty while tracing is off."""


def configure(service: str) -> Callable[[], object]:
    """Turn on tracing in this process if OTEL_EXPORTER_OTLP_ENDPOINT is set: send spans to the collector at that URL.

    `service` names the process in the traces. Return a function that sends the spans not sent yet; call it before the
    process ends. While tracing is off, the function does nothing. If the extra `otel` is not installed, log a warning
    and leave tracing off.
    """
    if not os.environ.get(_COLLECTOR):
        return lambda: None
    try:
        record, flush = _open_telemetry(service)
    except ImportError:
        _logger.warning("tracing-unavailable", hint=f"{_COLLECTOR} is set; install listing-images[otel] to have traces")
        return lambda: None
    _recorder[:] = [record]
    return flush


def record_span(name: str, correlation_id: str, seconds: float, **attributes: str | int | bool) -> None:
    """Record a span named `name` that took `seconds` and ends now, in the trace of one photo.

    The trace is that of the correlation id, the id of the event that announced the photo. `attributes` are stored with
    the span. Do nothing while tracing is off, or if the correlation id is empty.
    """
    if _recorder and correlation_id:
        _recorder[0](name, correlation_id, seconds, attributes)


def _open_telemetry(service: str) -> tuple[SpanRecorder, Callable[[], object]]:
    from opentelemetry import trace  # noqa: PLC0415 - an extra, which may not be installed
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(
        resource=Resource.create({"service.name": f"listing-images-{service}"}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("listing-images")

    def record(name: str, correlation_id: str, seconds: float, attributes: dict[str, Any]) -> None:
        digest = hashlib.sha256(correlation_id.encode()).digest()
        root = trace.SpanContext(
            trace_id=int.from_bytes(digest[:16], "big"), span_id=int.from_bytes(digest[16:24], "big"), is_remote=True,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )  # fmt: skip
        ended = time.time_ns()
        span = tracer.start_span(
            name, context=trace.set_span_in_context(trace.NonRecordingSpan(root)),
            start_time=ended - int(seconds * _NANOSECONDS), attributes={**attributes, "correlation_id": correlation_id},
        )  # fmt: skip
        span.end(ended)

    return record, lambda: provider.force_flush(_FLUSH_MILLISECONDS)
