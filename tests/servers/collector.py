"""An OpenTelemetry collector: takes OTLP over HTTP and shows the spans it was sent; it can be told to hang or fail."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True)
class Collected:
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    attributes: dict[str, Any]


@dataclass(slots=True)
class Collector:
    url: str
    mode: Literal["well", "failing", "hanging"] = "well"
    spans: list[Collected] = field(default_factory=list[Collected])
    released: threading.Event = field(default_factory=threading.Event)

    async def seen(self) -> list[Collected]:
        return list(self.spans)

    def named(self, name: str) -> Collected:
        """Raises LookupError unless there is exactly one."""
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            raise LookupError(f"{name} among {[span.name for span in self.spans]}")
        return found[0]

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = next(
                item.value.string_value for item in resource.resource.attributes if item.key == "service.name"
            )
            self.spans += [collected(service, span) for scope in resource.scope_spans for span in scope.spans]


def collected(service: str, span: Span) -> Collected:
    values = {
        item.key: getattr(item.value, item.value.WhichOneof("value") or "string_value") for item in span.attributes
    }
    return Collected(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=values,
    )


@contextmanager
def collector(port: int = 0) -> Generator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if running.mode == "hanging":
                running.released.wait()
            if running.mode == "well" and self.path == "/v1/traces":
                running.take(body)
            self.send_response(503 if running.mode == "failing" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        running = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            server.shutdown()
            thread.join()
