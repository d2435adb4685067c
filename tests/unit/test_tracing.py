"""Are spans sent? None without a collector; with one, all spans of a photo in one trace."""

import asyncio

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared import tracing


@pytest.fixture(autouse=True)
def tracing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_recorder", [])


async def test_all_spans_of_a_correlation_id_are_one_trace(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    requests: list[ExportTraceServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
        flush = tracing.configure("downloader")
        tracing.record_span("wait", "ingest-1", 2.0, image_id="a")
        tracing.record_span("download", "ingest-1", 0.5, result="downloaded")
        tracing.record_span("download", "ingest-2", 0.5, result="gone")
        tracing.record_span("download", "", 0.5, result="of a photo without a correlation id")
        await asyncio.to_thread(flush)
    finally:
        await runner.cleanup()
    spans = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {(span.name, round((span.end_time_unix_nano - span.start_time_unix_nano) / 1e9, 1)) for span in spans} == {
        ("wait", 2.0),
        ("download", 0.5),
    }
    traces: dict[bytes, int] = {}
    for span in spans:
        traces[span.trace_id] = traces.get(span.trace_id, 0) + 1
    assert sorted(traces.values()) == [1, 2]


def test_without_a_collector_no_span_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing.configure("downloader")()
    tracing.record_span("download", "ingest-1", 0.5)
    assert tracing._recorder == []
