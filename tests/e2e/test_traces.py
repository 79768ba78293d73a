"""Traces of the real system, as a collector gets them by OTLP."""

import re
import secrets
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from tests.e2e.conftest import DEADLINE, System
from tests.traces import Collector, Told, outline
from topics import registry

pytestmark = pytest.mark.servers
DOCUMENT = ["freshet.chunk", "  freshet.embed", "    freshet.index"]


def spans_of(traces: Collector, about: str, enough: Callable[[list[Told]], bool]) -> list[Told]:
    """All spans of the traces that some span about this is in, once there are enough of them."""
    until = time.monotonic() + DEADLINE
    while True:
        told = list(traces.spans)
        ours = {span.trace for span in told if about in span.attributes.values()}
        found = [span for span in told if span.trace in ours]
        if enough(found):
            return found
        assert time.monotonic() < until, [span.name for span in found]
        time.sleep(0.05)


def has(*names: str) -> Callable[[list[Told]], bool]:
    return lambda spans: set(names) <= {span.name for span in spans}


def trace(spans: list[Told]) -> str:
    """The one that all are in."""
    (found,) = {span.trace for span in spans}
    return found


@pytest.fixture
def doc_id() -> str:
    return f"traced/{secrets.token_hex(4)}.md"


def test_a_document_is_one_trace(system: System, traces: Collector, doc_id: str) -> None:
    """From the gateway to the instant at which it is visible: one tree, one process after another."""
    status = system.put(doc_id, "The weir at Aldermoor was closed in the spring for its new gates.")
    spans = spans_of(
        traces, f"default/{doc_id}", has(*(f"freshet.{hop}" for hop in ("publish", "chunk", "embed", "index")))
    )
    assert outline(spans, trace(spans)) == ["freshet.publish", *("  " + line for line in DOCUMENT)]
    named = {span.name: span for span in spans}
    services = [named[f"freshet.{name}"].service for name in ("publish", "chunk", "embed", "index")]
    assert services == [f"freshet-{name}" for name in ("gateway", "chunk", "embed", "index")]
    ((event, told),) = named["freshet.index"].events
    assert (event, told["freshet.version"]) == ("freshet.visible", status["visible_version"])
    began = [named[f"freshet.{name}"].began for name in ("publish", "chunk", "embed", "index")]
    assert began == sorted(began)


def test_two_versions_are_two_traces(system: System, traces: Collector, doc_id: str) -> None:
    """A version that was written straight to Kafka begins its trace at the first stage; a delete has one as well."""
    system.put(doc_id, "The weir is open.")
    topic = registry.DOCUMENTS.full_name(system.settings.kafka.prefix, "g1")
    producer = Producer({"bootstrap.servers": system.settings.kafka.brokers, "partitioner": "murmur2_random"})
    places = []
    for value in (b"The weir is closed.", None):
        producer.produce(
            topic, value, doc_id.encode(), headers={"content-type": b"text/plain"},
            on_delivery=lambda _, message: places.append(message),
        )  # fmt: skip
        producer.flush(10)
        system.wait(doc_id, f"1.{places[-1].partition()}.{places[-1].offset()}")

    spans = spans_of(traces, f"default/{doc_id}", lambda found: len(found) == 10)
    outlines = [outline(spans, found) for found in {span.trace for span in spans}]
    assert sorted(map(len, outlines)) == [3, 3, 4] and outlines.count(DOCUMENT) == 2
    assert sum("messaging.kafka.message.tombstone" in span.attributes for span in spans) == 3


def test_a_question_is_one_trace(system: System, traces: Collector, doc_id: str) -> None:
    """From the caller's own span over gateway, retrieval and answer back to the gateway: one tree, ids of the job."""
    system.put(doc_id, "The miller of Aldermoor keeps seven geese in the yard behind the weir.")
    caller = f"{secrets.token_hex(16)}-{secrets.token_hex(8)}"
    response = system.http.post(
        "/v1/queries", json={"question": "Who keeps geese behind the weir of Aldermoor?"},
        headers={"Prefer": "wait=30", "traceparent": f"00-{caller}-01"},
    )  # fmt: skip
    assert response.status_code == 200, response.text
    job, hops = response.json()["job_id"], ["ask", "retrieve", "generate", "reply", "deliver"]
    spans = spans_of(traces, job, has(*(f"freshet.{hop}" for hop in hops)))
    assert trace(spans) == caller[:32]
    named = {span.name: span for span in spans}
    lines = [
        line for line in outline(spans, caller[:32]) if re.fullmatch(r" *freshet\.(ask|retrieve|generate|reply)", line)
    ]
    assert lines == ["freshet.ask", "  freshet.retrieve", "    freshet.generate", "      freshet.reply"]
    assert named["freshet.ask"].parent == caller[33:]
    assert {named[f"freshet.{hop}"].attributes["freshet.job"] for hop in hops} == {job}
    services = [named[f"freshet.{hop}"].service.removeprefix("freshet-") for hop in hops]
    assert services == ["gateway", "retrieve", "generate", "gateway", "deliver"]
    assert named["freshet.deliver"].parent == named["freshet.generate"].id == named["freshet.reply"].parent
    assert {
        named[name].parent for name in ("freshet.cache", "freshet.search", "freshet.encode", "freshet.keyword")
    } == {named["freshet.retrieve"].id}
    assert named["freshet.quote"].parent == named["freshet.generate"].id
    sent, processed = named["freshet.ask"].attributes, named["freshet.retrieve"].attributes
    same = ("messaging.destination.name", "messaging.destination.partition.id", "messaging.kafka.offset")
    assert [sent[name] for name in same] == [processed[name] for name in same]


def test_no_text_leaves_by_a_trace(system: System, traces: Collector, doc_id: str) -> None:
    """Neither text, question nor answer is in what the collector got; nor is what refused documents hold."""
    word = f"quagga{secrets.token_hex(4)}"
    system.put(doc_id, f"The {word} grazes by the weir.")
    system.put(f"{doc_id}.bad", f"{word} \x00", media_type="application/pdf")
    answer = system.ask(f"Where does the {word} graze?")
    assert word in answer["text"]
    spans_of(traces, f"default/{doc_id}.bad", has("freshet.index"))
    time_of_answer = time.monotonic() + DEADLINE
    while "freshet.reply" not in {span.name for span in traces.spans}:
        assert time.monotonic() < time_of_answer
        time.sleep(0.05)
    assert word not in repr(traces.spans)
