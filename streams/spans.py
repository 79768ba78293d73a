"""The span of each record in a lane: made when work on it begins, ended when all that came of it is written.

A stage is given its records with the span's own trace context in place of the one that they came with, so whatever it
passes on is below it.  Dead letters and copies for the retry topic keep what they came with.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from runtime import tracing
from streams.outcome import Defer, Drop, Emit, Outcome, Output, Record, Refuse, Stage
from topics.headers import EVENT, JOB, TENANT, TOKEN, TRACEPARENT
from topics.identity import DEFAULT_TENANT
from topics.queries import FINAL
from topics.registry import CHUNKS, DOCUMENTS, INDEX_EVENTS, VECTORS
from topics.spec import TopicSpec

OLD = 3600.0  # seconds: work on an older record, as a replay brings it, is a trace of its own with a link to that one
_ENDS = tuple(kind.encode() for kind in FINAL)
_ENCODED = {CHUNKS.name, VECTORS.name, INDEX_EVENTS.name}  # their keys are percent-encoded paths, a part's behind #


class Spans:
    """Of one lane; ``again`` is the lane of what comes to be retried."""

    def __init__(self, stage: Stage, *, again: bool) -> None:
        self._stage, self._name = stage, f"freshet.{stage.name}{'.retry' * again}"

    def begin(self, records: list[Record]) -> list[Record]:
        """The records, each with a span where anything is traced."""
        if not tracing.on():
            return records
        return [record if _in_between(record) else self._begun(record, len(records)) for record in records]

    def around(self, records: Sequence[Record]) -> tracing.Span:
        """What the stage's work on them is within: what it logs of one alone names it, traced or not."""
        if len(records) != 1:
            return tracing.NO_SPAN
        return records[0].span if records[0].span.ours else _Untraced(records[0], self._stage.reads)

    def logged(self, record: Record) -> dict[str, Any]:
        """What log lines about a record say of it."""
        span = _Untraced(record, self._stage.reads) if record.span is tracing.NO_SPAN else record.span
        return span.logged()

    def end(self, record: Record, outcome: Outcome) -> None:
        """All that came of it is written."""
        span = record.span
        if not span.recording:
            return
        if isinstance(outcome, Emit):
            span.set({"freshet.outcome": "emitted", "freshet.outputs": len(outcome.outputs)})
        elif isinstance(outcome, Drop):
            span.set({"freshet.outcome": "dropped", "freshet.reason": outcome.reason})
        elif isinstance(outcome, Defer):
            span.set({"freshet.outcome": "deferred", "freshet.failed_tries": outcome.retry.attempts})
            span.fail(outcome.reason)
        elif isinstance(outcome, Refuse):
            span.set({"freshet.outcome": outcome.status})
            span.fail(outcome.reason)
        span.end()

    def _begun(self, record: Record, batch: int) -> Record:
        came, old = _context(record), time.time() - record.timestamp / 1000 > OLD
        span = tracing.begin(
            self._name,
            "consumer",
            parent=None if old else came,
            link=came if old else None,
            attributes=self._attributes(record, batch),
        )
        return replace(record, span=span)

    def _attributes(self, record: Record, batch: int) -> tracing.Attributes:
        found: dict[str, tracing.Value] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.consumer.group.name": self._stage.group,
            "messaging.kafka.offset": record.offset,
            "freshet.batch": batch,
            "messaging.message.body.size": len(record.value or b""),
            "freshet.waited_ms": max(0, int(time.time() * 1000) - record.timestamp),
            **about(record, self._stage.reads),
        }
        if record.value is None:
            found["messaging.kafka.message.tombstone"] = True
        if TOKEN in record.headers:
            found["freshet.token"] = _text(record.headers[TOKEN])
        if record.retry:
            found["freshet.failed_tries"] = record.retry.attempts
        return found


class _Untraced(tracing.Span):
    """Of a record, where nothing is traced: known to log lines, and worked out when there is one."""

    def __init__(self, record: Record, reads: TopicSpec) -> None:
        super().__init__()
        self._record, self._reads = record, reads

    def logged(self) -> dict[str, tracing.Value]:
        return tracing.Span(_context(self._record), about(self._record, self._reads)).logged()


def about(record: Record, reads: TopicSpec) -> tracing.Attributes:
    """The job or the document that a record of ``reads`` is about, from headers and key alone."""
    if JOB in record.headers:
        tenant = _text(record.headers.get(TENANT, DEFAULT_TENANT.encode()))
        return {tracing.JOB: _text(record.headers[JOB]), tracing.TENANT: tenant}
    key = _text(record.key or b"")
    if reads.name in _ENCODED:
        return tracing.document(unquote(key.partition("#")[0]))
    if reads is DOCUMENTS:
        return tracing.document(key[1:] if key.startswith("@") else f"{DEFAULT_TENANT}/{key}")
    return tracing.NOTHING


def traced(record: Record, outputs: Sequence[Output]) -> Sequence[Output]:
    """Outputs of a record, those too that pass nothing on of it."""
    trace = record.span.traceparent if record.span.ours else None
    if not trace:
        return outputs
    return [
        output
        if TRACEPARENT in output.headers
        else replace(output, headers={**output.headers, TRACEPARENT: trace.encode()})
        for output in outputs
    ]


def _in_between(record: Record) -> bool:
    """Whether it only says how far a job has come: the spans of who writes that tell it already."""
    return record.headers.get(EVENT, _ENDS[0]) not in _ENDS


def failed(records: Sequence[Record], reason: str) -> None:
    """A try at the records failed; another follows."""
    for record in records:
        record.span.event("freshet.retry", {"error.type": reason})


def _context(record: Record) -> str | None:
    return tracing.valid(_text(record.headers[TRACEPARENT])) if TRACEPARENT in record.headers else None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
