"""Traces: one for each question and for each document version, through every process that works on it.

A record carries its trace as the header ``traceparent`` (W3C Trace Context); a span is work of one process on it.  Off
unless FRESHET_OTLP_ENDPOINT is set: then spans are quiet, and nothing of OpenTelemetry is imported.  Spans hold ids,
names, counts and reasons out of closed lists; never a text, a question, an answer or what an error says.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

from runtime.settings import Otlp

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = Mapping[str, Value]
Kind: TypeAlias = Literal["internal", "producer", "consumer", "client"]
NOTHING: Attributes = MappingProxyType({})
DOCUMENT, JOB, TENANT = "freshet.document", "freshet.job", "freshet.tenant"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LOGGED = {JOB: "job_id", DOCUMENT: "document"}  # attributes that log lines have too, and their names there


class Span:
    """Of which nothing is told: it passes on the trace that it was given, and log lines name that."""

    ours = False  # whether it is a link of the trace, so that what comes of the work is below it
    recording = False

    def __init__(self, traceparent: str | None = None, about: Attributes = NOTHING) -> None:
        self.traceparent, self._about = traceparent, about

    def set(self, attributes: Attributes) -> None:
        """Say more of it."""

    def event(self, name: str, attributes: Attributes = NOTHING) -> None:
        """Something happened within it."""

    def fail(self, reason: str) -> None:
        """It did not do what it was for; ``reason`` is one of few."""

    def end(self) -> None:
        """It is over."""

    def logged(self) -> dict[str, Value]:
        """What log lines written within it say of it."""
        found = {name: self._about[key] for key, name in _LOGGED.items() if key in self._about}
        if self.traceparent:
            found["trace_id"] = self.traceparent[3:35]
            if self.recording:
                found["span_id"] = self.traceparent[36:52]
        return found


class Tracer(Protocol):
    """Makes spans and sends them."""

    document_ids: bool

    def begin(
        self, name: str, kind: Kind, parent: str | None, link: str | None, attributes: Attributes, started: int | None
    ) -> Span: ...

    def close(self) -> None:
        """Send what waits, for a moment at most."""


NO_SPAN = Span()
_current: ContextVar[Span] = ContextVar("freshet-span", default=NO_SPAN)
_tracer: Tracer | None = None


def configure(otlp: Otlp, service: str, instance: str, namespace: str) -> None:
    """Trace from now on, where there is somebody to tell."""
    if otlp.endpoint is not None:
        from runtime.otlp import OtlpTracer

        use(OtlpTracer(otlp, service, instance, namespace))


def use(tracer: Tracer | None) -> None:
    """Trace by this; None: not at all."""
    global _tracer
    _tracer = tracer


def close() -> None:
    """Trace no more."""
    if _tracer is not None:
        _tracer.close()
        use(None)


def on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def current() -> Span:
    """The span that is being worked within."""
    return _current.get()


def document(path: str) -> Attributes:
    """What may be told of a document, whose path is ``tenant/doc_id``."""
    tenant = path.partition("/")[0]
    if _tracer is not None and not _tracer.document_ids:
        return {TENANT: tenant}
    return {DOCUMENT: path, TENANT: tenant}


def valid(traceparent: str | None) -> str | None:
    """A trace context as it came, if it is one."""
    fits = traceparent is not None and len(traceparent) <= 256 and _TRACEPARENT.fullmatch(traceparent)
    return traceparent if fits else None


def begin(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    link: str | None = None,
    attributes: Attributes = NOTHING,
    started: int | None = None,
) -> Span:
    """A span below ``parent``, or the first of a trace; ``started`` (ms since 1970) where that was before now.

    ``link`` is another trace that it has to do with.  Whoever begins it ends it.
    """
    if _tracer is None:
        return Span(parent, attributes)
    return _tracer.begin(name, kind, valid(parent), valid(link), attributes, started)


@contextmanager
def inside(span: Span) -> Iterator[None]:
    """Work within a span: spans that begin there are below it, log lines name it."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def span(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    link: str | None = None,
    attributes: Attributes = NOTHING,
) -> Iterator[Span]:
    """A span for as long as the block takes; without ``parent`` and ``link`` it is part of the current one."""
    if parent is None and link is None:
        if _tracer is None:
            yield _current.get()
            return
        parent = _current.get().traceparent
    made = begin(name, kind, parent=parent, link=link, attributes=attributes)
    try:
        with inside(made):
            yield made
    except BaseException as error:
        made.fail(type(error).__name__)
        raise
    finally:
        made.end()
