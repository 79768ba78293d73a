"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP.  Imported only where traces are wanted.

A thread of its own sends them.  What does not fit into its queue is dropped, what could not be sent is given up, and
both are counted: no lane waits for a collector.
"""

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from runtime import metrics
from runtime.logs import logger
from runtime.settings import Otlp
from runtime.tracing import NOTHING, Attributes, Kind, Span

EVERY = 1.0  # seconds between sendings
BATCH = 256  # spans in one: encoding them holds the interpreter for some milliseconds
LAST = 2.0  # seconds that a process which ends spends on what is left
_LIMITS = SpanLimits(max_events=32, max_links=8, max_span_attributes=64, max_attribute_length=1200)
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}
log = logger(__name__)


class TracedSpan(Span):
    """One of OpenTelemetry's.  One that is not sampled records nothing, and tells those below it so."""

    ours = True

    def __init__(self, span: OtelSpan, about: Attributes) -> None:
        context = span.get_span_context()
        flags = int(context.trace_flags)
        super().__init__(f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}", about)
        self._span, self.recording, self._failed = span, span.is_recording(), False

    def set(self, attributes: Attributes) -> None:
        if self.recording:
            self._span.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes = NOTHING) -> None:
        if self.recording:
            self._span.add_event(name, attributes)

    def fail(self, reason: str) -> None:
        if self.recording and not self._failed:  # the first reason is the nearest to the cause
            self._span.set_attribute("error.type", reason)
            self._span.set_status(StatusCode.ERROR, reason)
            self._failed = True

    def end(self) -> None:
        if self.recording:
            self.recording = False
            self._span.end()


class OtlpTracer:
    """Of a process, which is an instance of a service.  ``exporter`` in place of OTLP's is for tests."""

    def __init__(
        self, otlp: Otlp, service: str, instance: str, namespace: str, exporter: SpanExporter | None = None
    ) -> None:
        self.document_ids = otlp.document_ids
        # What it complains of is counted, and said once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        named = {"service.name": service, "service.namespace": namespace, "service.instance.id": instance}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(otlp.sample)),
            resource=Resource.create(named),
            shutdown_on_exit=False,
            span_limits=_LIMITS,
        )
        self._exporter = Counting(exporter or exporter_of(otlp))
        self._provider.add_span_processor(
            BatchSpanProcessor(self._exporter, otlp.queue, EVERY * 1000, min(BATCH, otlp.queue))
        )
        self._tracer = self._provider.get_tracer("freshet")

    def begin(
        self, name: str, kind: Kind, parent: str | None, link: str | None, attributes: Attributes, started: int | None
    ) -> Span:
        above = Context() if parent is None else set_span_in_context(NonRecordingSpan(context_of(parent)), Context())
        links = [] if link is None else [Link(context_of(link))]
        began = None if started is None else started * 1_000_000
        made = self._tracer.start_span(name, above, _KINDS[kind], attributes, links, began)
        if made.is_recording():
            metrics.spans.labels("made").inc()
        return TracedSpan(made, attributes)

    def flush(self) -> None:
        """Send what there is; for tests."""
        self._provider.force_flush()

    def close(self) -> None:
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="spans-last")
        ending.start()
        ending.join(LAST)


class Counting(SpanExporter):
    """Counts what was sent and what was given up; says it when that changes."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._away = exporter, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        sent = result is SpanExportResult.SUCCESS
        metrics.spans.labels("sent" if sent else "given-up").inc(len(spans))
        if self._away is sent:
            self._away = not sent
            if sent:
                log.info("traces are sent again")
            else:
                log.warning("traces cannot be sent (FRESHET_OTLP_ENDPOINT): lanes go on without")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def exporter_of(otlp: Otlp) -> OTLPSpanExporter:
    """To the collector that the settings name."""
    return OTLPSpanExporter(
        endpoint=otlp.address, headers=otlp.sent_headers, timeout=otlp.timeout, compression=Compression.Gzip
    )


def context_of(traceparent: str) -> SpanContext:
    """What a ``traceparent`` that is valid names."""
    return SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
    )
