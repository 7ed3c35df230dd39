"""`common.correlation`'s spans by OpenTelemetry. Imported by `tracing` alone, and only when spans are wanted.

The current span is made known to OpenTelemetry as well, so that its instrumentation of other libraries joins in.
"""

from collections.abc import Mapping

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.core.redaction import redact
from common.correlation import Attribute, Kind

TRACES_PATH = "/v1/traces"
EXPORT_SECONDS = 5.0

_propagator = TraceContextTextMapPropagator()


class OpenTelemetrySpan:
    def __init__(self, span: trace.Span, within: Context) -> None:
        self._span = span
        self._within = within
        self._attached = context.attach(within)

    @property
    def trace_id(self) -> str:
        return format_trace_id(self._span.get_span_context().trace_id)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self._within)
        return carrier

    def describe(self, attributes: Mapping[str, Attribute], name: str) -> None:
        for key, value in attributes.items():
            self._span.set_attribute(key, redact(key, value))
        if name:
            self._span.update_name(name)

    def end(self, error: BaseException | None) -> None:
        """Of an error its type is told; its text may hold anything."""
        if error is not None:
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.set_status(StatusCode.ERROR)
        context.detach(self._attached)
        self._span.end()


class OpenTelemetryTracing:
    """Sends to an OTLP/HTTP collector from a thread of its own, by way of a bounded queue."""

    def __init__(self, service: str, endpoint: str) -> None:
        self._exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES_PATH, timeout=EXPORT_SECONDS)
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("common")

    def begin(self, name: str, kind: Kind, headers: Mapping[str, str] | None) -> OpenTelemetrySpan:
        parent = context.get_current() if headers is None else _propagator.extract(headers, Context())
        span = self._tracer.start_span(name, parent, SpanKind[kind.upper()])
        return OpenTelemetrySpan(span, trace.set_span_in_context(span, parent))

    def finish(self) -> None:
        """Send what waits. Blocks, and for long when the collector is away."""
        self._provider.shutdown()

    def abandon(self) -> None:
        """End a `finish` that takes too long; what still waits is lost."""
        self._exporter.shutdown()
