"""Traces of the stages, by their real runners on a log in memory."""

import logging
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.errors import Permanent, Transient, Unclear
from connectors.memory.deliveries import MemoryDeliveries
from connectors.ports import Delta
from runtime.clock import SystemClock
from streams.documents.changes import identify
from streams.documents.deferrals import InTheState
from streams.outcome import Emit, Outcome, Output, Record, Stage
from streams.queries.events import OnRefusedQuery
from streams.retries import Retries
from streams.runner import Runner
from tests.flow.inline import Lanes
from tests.flow.test_ladder import Scripted
from tests.streams.memory_stream import run_dry
from tests.traces import InMemory, outline, traced
from topics import registry
from topics.codec import encode
from topics.headers import TRACEPARENT, Hop
from topics.identity import mint_job_id
from topics.queries import Passage, Question, Usage
from topics.retry import Retry

CALLER = f"00-{'a' * 32}-{'b' * 16}-01"
TEXT = b"The green valve was built in Oslo in 1911, and its wheel is painted black."


@pytest.fixture
def memory() -> Iterator[InMemory]:
    with traced() as found:
        yield found


class Way:
    """The stages one after another, each run by its runner on what the one before it wrote."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        lanes = self.lanes
        clock = SystemClock()
        refused = OnRefusedQuery("retrieve", clock, 4), OnRefusedQuery("generate", clock, 4)
        self.stages = [
            Stage("chunk", registry.DOCUMENTS, lanes.chunk.on_refused, lanes.chunk.step, batch=8, linger=0.01),
            Stage("embed", registry.CHUNKS, lanes.embed.on_refused, lanes.embed.step, batch=8, linger=0.01),
            Stage("index", registry.VECTORS, lanes.index.on_refused, lanes.index.step, batch=8, linger=0.01),
            Stage("retrieve", registry.QUERIES, refused[0], record_step=self.retrieve, in_flight=4),
            Stage("generate", registry.RETRIEVALS, refused[1], record_step=self.generate, in_flight=4),
        ]  # fmt: skip

    async def retrieve(self, record: Record) -> Outcome:
        return await self.lanes.retrieve.step(record)

    async def generate(self, record: Record) -> Outcome:
        return await self.lanes.generate.step(record)

    async def run(self, *names: str) -> None:
        for name in names:
            stage = next(stage for stage in self.stages if stage.name == name)
            records = self.lanes.log[stage.reads.name]
            await run_dry(Runner(stage, self.lanes.publish, MemoryDeliveries(), 4), records)

    async def document(self, doc_id: str, value: bytes | None = TEXT, traceparent: bytes = b"") -> None:
        headers = {"content-type": b"text/plain"} | ({TRACEPARENT: traceparent} if traceparent else {})
        self.lanes.write(self.lanes.epochs.newest, doc_id, value, "default", **headers)

    async def question(self, traceparent: str | None = CALLER, seconds: float = 10.0) -> str:
        job, now = mint_job_id(0), time.time()
        hop = Hop(job_id=job, deadline=int((now + seconds) * 1000), reply_partition=0, traceparent=traceparent)
        body = encode(Question(question="Where was the green valve built?", asked_at=int(now * 1000)))
        self.lanes.append(registry.QUERIES, job.encode(), body, 0, hop.headers())
        return job


async def test_a_document_is_one_trace_from_publisher_to_visible(memory: InMemory) -> None:
    """Each stage's span is below that of the stage before it, the first below the publisher's; the last one says when
    the version became visible, and its event carries the trace on.
    """
    way = Way()
    await way.document("valves", traceparent=CALLER.encode())
    await way.run("chunk", "embed", "index")
    spans = memory.told()
    assert {span.trace for span in spans} == {"a" * 32}
    assert outline(spans, "a" * 32) == ["freshet.chunk", "  freshet.embed", "    freshet.index"]
    chunk, embed, index = spans
    assert chunk.parent == "b" * 16
    assert {span.attributes["freshet.document"] for span in spans} == {"default/valves"}
    assert (chunk.attributes["freshet.chunks"], embed.attributes["freshet.encoded"]) == (1, 1)
    assert [name for name, _ in index.events] == ["freshet.visible"]
    (event,) = way.lanes.log[registry.INDEX_EVENTS.name]
    assert event.headers[TRACEPARENT].decode() == index.traceparent


async def test_documents_of_a_batch_keep_their_traces(memory: InMemory) -> None:
    """Versions that share a batch do not share a trace; one that came without begins its own at the first stage."""
    way = Way()
    await way.document("a", traceparent=CALLER.encode())
    await way.document("b")
    await way.document("c", traceparent=b"00-nonsense")
    await way.run("chunk", "embed", "index")
    spans = memory.told()
    traces = {span.attributes["freshet.document"]: span.trace for span in spans}
    assert len(set(traces.values())) == 3 and traces["default/a"] == "a" * 32
    for trace in traces.values():
        assert outline(spans, trace) == ["freshet.chunk", "  freshet.embed", "    freshet.index"]
    assert {s.parent for s in spans if s.name == "freshet.chunk"} == {None, "b" * 16}


async def test_a_question_is_one_trace(memory: InMemory) -> None:
    """Retrieval is below the question, its steps and generation below it, the model's call below that."""
    way = Way()
    await way.document("valves")
    await way.run("chunk", "embed", "index")
    way.lanes.writes(Counted(), alone=True)
    job = await way.question()
    await way.run("retrieve", "generate")
    spans = [span for span in memory.told() if span.trace == "a" * 32]
    assert list(dict.fromkeys(outline(spans, "a" * 32))) == [  # a flip a moment ago makes it search again
        "freshet.retrieve", "  freshet.encode", "  freshet.search", "  freshet.manifests", "  freshet.generate",
        "    chat scripted",
    ]  # fmt: skip
    named = {span.name: span for span in spans}
    assert (
        named["freshet.retrieve"].attributes["freshet.job"]
        == job
        == named["freshet.generate"].attributes["freshet.job"]
    )
    assert named["freshet.retrieve"].attributes["freshet.passages"] == 1
    call = named["chat scripted"].attributes
    assert (call["gen_ai.operation.name"], call["gen_ai.request.model"]) == ("chat", "scripted")
    assert call["gen_ai.provider.name"] == "openai" and call["gen_ai.response.time_to_first_chunk"] > 0
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (7, 3)
    answers = way.lanes.log[registry.ANSWERS.name]
    begun = {"retrieve": named["freshet.retrieve"], "generate": named["freshet.generate"]}
    stages = [(b'"retrieve"' in (record.value or b"") and "retrieve") or "generate" for record in answers]
    assert [r.headers[TRACEPARENT].decode() for r in answers] == [begun[stage].traceparent for stage in stages]


async def test_nothing_of_a_text_is_told(memory: InMemory) -> None:
    """No word of document, question or answer is in any span, nor what an error says of them."""
    way = Way()
    await way.document("valves")
    await way.document("unreadable", b"\xff\xfe\x00secret-wheel")
    way.lanes.write(way.lanes.epochs.newest, "kind", b"secret-wheel", content_type=b"image/secret-wheel")
    await way.run("chunk", "embed", "index")
    await way.question()
    await way.run("retrieve", "generate")
    told = repr(memory.told())
    assert len(memory.told()) > 10
    assert not [word for word in ("Oslo", "wheel", "green", "black", "1911", "secret") if word in told]


async def test_a_refused_version_ends_its_trace_with_the_reason(memory: InMemory) -> None:
    """The span of what is refused has failed with the reason, and the news of it are below it up to the event."""
    way = Way()
    way.lanes.write(way.lanes.epochs.newest, "kind", b"?", content_type=b"image/png", traceparent=CALLER.encode())
    await way.run("chunk", "embed", "index")
    spans = memory.told()
    assert outline(spans, "a" * 32) == ["freshet.chunk", "  freshet.embed", "    freshet.index"]
    assert spans[0].failed == "unreadable" == spans[0].attributes["error.type"]
    assert spans[0].attributes["freshet.outcome"] == "rejected"
    (letter,) = way.lanes.log["documents.dlq"]
    assert letter.headers[TRACEPARENT] == CALLER.encode()
    (event,) = way.lanes.log[registry.INDEX_EVENTS.name]
    assert event.headers[TRACEPARENT].decode() == spans[2].traceparent


async def test_an_expired_question_has_failed(memory: InMemory) -> None:
    """A question whose deadline is over ends its span with that reason."""
    way = Way()
    await way.question(seconds=-1.0)
    await way.run("retrieve")
    (span,) = memory.named("freshet.retrieve")
    assert span.failed == "expired"


async def test_a_failing_model_is_told(memory: InMemory) -> None:
    """Each try of a model is a span of its own; one that failed says why, and the answer's span has not failed."""
    way = Way()
    await way.document("valves")
    await way.run("chunk", "embed", "index")
    model = Scripted(Transient("cut", reason="cut"), Permanent("no", reason="key"))
    way.lanes.writes(model)
    await way.question()
    await way.run("retrieve", "generate")
    calls = memory.named("chat scripted")
    assert [(call.failed, call.attributes["freshet.attempt"]) for call in calls] == [("cut", 1), ("key", 2)]
    (generate,), (quote,) = memory.named("freshet.generate"), memory.named("freshet.quote")
    assert generate.failed is None and list(generate.attributes["freshet.degraded"]) == ["model-0:key"]
    assert "gen_ai.operation.name" not in quote.attributes


class Counted(Scripted):
    """A model that says at its end what it took."""

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        async for delta in super().stream(question, passages, seconds):
            yield delta
        yield Delta("", usage=Usage(input_tokens=7, output_tokens=3))


class Failing:
    """A stage that fails as it is told, then passes."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def stage(self, **more: Any) -> Stage:
        async def on_refused(*_: object) -> Sequence[Output]:
            return []

        return Stage("index", registry.VECTORS, on_refused, self.step, **more)

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        if self._errors:
            raise self._errors.pop(0)
        return [Emit([Output(registry.INDEX_EVENTS, b"k", b"{}", 0)]) for _ in records]


def part(headers: dict[str, bytes] | None = None, age: float = 0.0, **more: Any) -> Record:
    given = {"freshet-token": b"1.0.7", TRACEPARENT: CALLER.encode()} if headers is None else headers
    at = int((time.time() - age) * 1000)
    return replace(Record("t.vectors.g1", 0, 7, b"default/a#0", b"{}", given, at), **more)


async def test_of_a_job_only_its_end_is_delivered_in_a_span(memory: InMemory) -> None:
    """The lane that keeps jobs has one span for a question, below the one that ended it, however many events came."""
    way = Way()
    await way.document("valves")
    await way.run("chunk", "embed", "index")
    await way.question()
    await way.run("retrieve", "generate")
    answers = way.lanes.log[registry.ANSWERS.name]
    assert len(answers) > 4
    stage = replace(Failing().stage(batch=8, linger=0.01), name="deliver", reads=registry.ANSWERS)
    await run_dry(Runner(stage, way.lanes.publish, MemoryDeliveries(), 4), answers)
    (delivered,), (generate,) = memory.named("freshet.deliver"), memory.named("freshet.generate")
    assert delivered.parent == generate.id
    assert delivered.attributes["freshet.job"] == generate.attributes["freshet.job"]


async def test_retries_are_events(memory: InMemory) -> None:
    """An outage is an event of the span for each try, and the span that passed in the end has not failed."""
    lanes = Lanes()
    stage = Failing(Transient("away", reason="broker"), Transient("away", reason="broker")).stage()
    await run_dry(Runner(stage, lanes.publish, MemoryDeliveries(), 4), [part()])
    (span,) = memory.told()
    assert span.events == [("freshet.retry", {"error.type": "broker"})] * 2 and span.failed is None
    (event,) = lanes.log[registry.INDEX_EVENTS.name]
    assert event.headers[TRACEPARENT].decode() == span.traceparent, "outputs that pass nothing on are below it too"


async def test_a_retried_record_stays_in_its_trace(memory: InMemory) -> None:
    """What is deferred says so and keeps the trace that it came with; its next try is beside the first."""
    lanes = Lanes()
    manifests = lanes.manifests
    stage = Failing(*[Unclear("odd", reason="odd")] * 4).stage(deferrals=InTheState(manifests))
    retries = Retries("index", registry.RETRIES[registry.VECTORS.name], lanes.settings.kafka, SystemClock())
    await run_dry(Runner(stage, lanes.publish, MemoryDeliveries(), 4, retries), [part()])
    (copy,) = lanes.log[registry.RETRIES[registry.VECTORS.name].name]
    assert copy.headers[TRACEPARENT] == CALLER.encode()
    headers = {**copy.headers, "freshet-retry-not-before": b"0"}
    assert Retry.of(headers) and identify(part())
    again = Runner(stage, lanes.publish, MemoryDeliveries(), 4, retries, again=True)
    await run_dry(again, [replace(copy, headers=headers)])
    first, second = memory.told()
    assert (first.name, second.name) == ("freshet.index", "freshet.index.retry")
    assert first.parent == second.parent == "b" * 16
    assert (first.failed, first.attributes["freshet.outcome"]) == ("odd", "deferred")
    assert second.failed is None


async def test_a_replay_begins_traces_of_its_own(memory: InMemory) -> None:
    """Work on a record of long ago is not added to the trace of then: it has a link to it."""
    stage, lanes = Failing().stage(), Lanes()
    await run_dry(Runner(stage, lanes.publish, MemoryDeliveries(), 4), [part(age=7200)])
    (span,) = memory.told()
    assert span.parent is None and span.trace != "a" * 32 and span.links == ["a" * 32]


async def test_what_a_caller_did_not_sample_is_not_recorded() -> None:
    """An unsampled trace leaves no span, in no stage; what is passed on says so to the next."""
    with traced() as memory:
        way = Way()
        await way.document("valves", traceparent=CALLER[:-1].encode() + b"0")
        await way.run("chunk", "embed", "index")
        assert memory.told() == []
        (chunk,) = way.lanes.log[registry.CHUNKS.name]
        assert chunk.headers[TRACEPARENT].startswith(b"00-" + b"a" * 32) and chunk.headers[TRACEPARENT].endswith(b"-00")


async def test_a_share_is_sampled() -> None:
    """Of traces that begin here a share is recorded, each with all of its spans or none."""
    with traced(sample=0.5) as memory:
        way = Way()
        for number in range(200):
            await way.document(f"d{number}")
        await way.run("chunk", "embed", "index")
        counts = [len(memory.named(f"freshet.{stage}")) for stage in ("chunk", "embed", "index")]
        assert len(set(counts)) == 1 and 60 < counts[0] < 140


async def test_documents_need_not_be_named() -> None:
    """With FRESHET_OTLP_DOCUMENT_IDS=false a span tells the tenant of a document, not its id."""
    with traced(document_ids=False) as memory:
        way = Way()
        await way.document("private/valves")
        await way.run("chunk", "embed", "index")
        assert len(memory.told()) == 3 and "valves" not in repr(memory.told())
        assert {span.attributes["freshet.tenant"] for span in memory.told()} == {"default"}


async def test_untraced_records_pass_as_they_came() -> None:
    """Without traces a stage gets its records untouched, and headers are passed on as ever."""
    way = Way()
    await way.document("valves", traceparent=CALLER.encode())
    await way.document("plain")
    await way.run("chunk", "embed")
    for topic in (registry.CHUNKS, registry.VECTORS):
        assert [r.headers.get(TRACEPARENT) for r in way.lanes.log[topic.name]] == [CALLER.encode(), None]


async def test_log_lines_name_job_and_trace(memory: InMemory, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged while a question is worked on names its job and its span; a refused document is named too."""
    way = Way()
    await way.document("valves")
    way.lanes.write(way.lanes.epochs.newest, "kind", b"?", content_type=b"image/png", traceparent=CALLER.encode())
    from runtime import logs

    logs.configure("INFO")
    logging.getLogger().addHandler(caplog.handler)
    await way.run("chunk", "embed", "index")
    model = Scripted(Permanent("no", reason="key"))
    way.lanes.writes(model)
    job = await way.question()
    await way.run("retrieve", "generate")
    lines = {record.msg["event"]: record.msg for record in caplog.records if isinstance(record.msg, dict)}
    (call,), (chunk,) = memory.named("chat scripted"), [s for s in memory.named("freshet.chunk") if s.failed]
    assert lines["model failed"]["job_id"] == job and lines["model failed"]["trace_id"] == "a" * 32
    assert lines["model failed"]["span_id"] != call.id, "the try is over when it is told"
    assert lines["refused"]["document"] == "default/kind" and lines["refused"]["span_id"] == chunk.id


async def test_untraced_log_lines_name_the_job_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Without traces a log line names the job, and the trace that its record came with, which may be the caller's."""
    from runtime import logs

    way = Way()
    await way.document("valves")
    logs.configure("INFO")
    logging.getLogger().addHandler(caplog.handler)
    await way.run("chunk", "embed", "index")
    way.lanes.writes(Scripted(Permanent("no", reason="key")))
    job = await way.question()
    await way.run("retrieve", "generate")
    (line,) = [r.msg for r in caplog.records if isinstance(r.msg, dict) and r.msg["event"] == "model failed"]
    assert (line["job_id"], line["trace_id"]) == (job, "a" * 32) and "span_id" not in line
