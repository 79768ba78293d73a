"""Spans as tests look at them, whether they come from the SDK or out of an OTLP request."""

import gzip
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime import tracing
from runtime.otlp import OtlpTracer
from runtime.settings import Otlp


@dataclass(frozen=True)
class Told:
    """One span."""

    name: str
    trace: str
    id: str
    parent: str | None
    service: str
    attributes: Mapping[str, Any]
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    links: Sequence[str] = ()  # traces
    failed: str | None = None  # description of an error status
    began: int = 0
    ended: int = 0

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.id}-01"


def outline(spans: Sequence[Told], trace: str) -> list[str]:
    """The tree of a trace: a name a span, indented by two for each span above it; below a span by time."""
    mine = [span for span in spans if span.trace == trace]
    below: dict[str | None, list[Told]] = {}
    ids = {span.id for span in mine}
    for span in sorted(mine, key=lambda s: (s.began, s.name)):
        below.setdefault(span.parent if span.parent in ids else None, []).append(span)

    def lines(above: str | None, depth: int) -> Iterator[str]:
        for span in below.get(above, []):
            yield "  " * depth + span.name
            yield from lines(span.id, depth + 1)

    return list(lines(None, 0))


class InMemory:
    """Traces of this process, at hand."""

    def __init__(self, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        otlp = Otlp(endpoint="http://127.0.0.1:9", **settings)
        self.tracer = OtlpTracer(otlp, "freshet-test", "0", "freshet", self._exporter)

    def told(self) -> list[Told]:
        """All spans that ended."""
        self.tracer.flush()
        return [_of_sdk(span) for span in self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[Told]:
        return [span for span in self.told() if span.name == name]


@contextmanager
def traced(**settings: Any) -> Iterator[InMemory]:
    """Trace, with these settings."""
    memory = InMemory(**settings)
    tracing.use(memory.tracer)
    try:
        yield memory
    finally:
        tracing.close()


@dataclass
class Collector:
    """An OTLP receiver; ``status`` is what it answers, 0: nothing."""

    server: ThreadingHTTPServer
    spans: list[Told] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def collector() -> Iterator[Collector]:
    """One on loopback, for as long as the block takes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            found.paths.append(self.path)
            if found.status == 0:
                found.over.wait()
                return
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            if found.status == 200:
                found.spans.extend(_of_request(ExportTraceServiceRequest.FromString(body)))
            self.send_response(found.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Collector(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        found.over.set()
        server.shutdown()
        server.server_close()


def _of_sdk(span: ReadableSpan) -> Told:
    context = span.context
    assert context is not None
    return Told(
        name=span.name,
        trace=f"{context.trace_id:032x}",
        id=f"{context.span_id:016x}",
        parent=None if span.parent is None else f"{span.parent.span_id:016x}",
        service=str(span.resource.attributes["service.name"]),
        attributes=dict(span.attributes or {}),
        events=[(event.name, dict(event.attributes or {})) for event in span.events],
        links=[f"{link.context.trace_id:032x}" for link in span.links],
        failed=span.status.description if not span.status.is_ok and not span.status.is_unset else None,
        began=span.start_time or 0,
        ended=span.end_time or 0,
    )


def _of_request(request: ExportTraceServiceRequest) -> Iterator[Told]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Told(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex() or None,
                    service=service,
                    attributes=_attributes(span.attributes),
                    events=[(event.name, _attributes(event.attributes)) for event in span.events],
                    links=[link.trace_id.hex() for link in span.links],
                    failed=span.status.message if span.status.code == 2 else None,
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
