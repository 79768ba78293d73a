"""The real system, through its doors."""

import secrets
import time
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.e2e.conftest import DEADLINE, System
from tests.streams.documents.formats import files
from topics import registry
from topics.identity import document_key, parse_document_key
from topics.media_types import PDF

pytestmark = pytest.mark.servers
TEXT = "# Lighthouse\n\nThe keeper of the Morrow lighthouse is called {name}. She lights the lamp at dusk.\n"
QUESTION = "Who is the keeper of the Morrow lighthouse?"


@pytest.fixture
def doc_id() -> str:
    return f"e2e/{secrets.token_hex(4)}.md"


def test_a_document_is_answered_from_edited_and_deleted(system: System, doc_id: str) -> None:
    """An answer cites the document, changes when it changes, and forgets it when it is deleted."""
    assert system.put(doc_id, TEXT.format(name="Ada Quill"))["status"] == "indexed"
    answer = system.ask(QUESTION)
    assert "Ada Quill" in answer["text"] and answer["citations"][0]["doc_id"] == doc_id
    assert answer["generation"] == "g1" and doc_id in answer["documents"] and not answer.get("degraded")
    assert {"encode", "search", "generate", "total"} <= set(answer["timings"])

    status = system.put(doc_id, TEXT.format(name="Bea Stone"))
    answer = system.ask(QUESTION)
    assert "Bea Stone" in answer["text"] and "Ada" not in answer["text"]
    assert answer["documents"][doc_id] == status["visible_version"]

    token = system.http.delete(f"/v1/documents/{doc_id}").json()["token"]
    assert system.wait(doc_id, token)["status"] == "deleted"
    assert all(passage["doc_id"] != doc_id for passage in system.retrieve(QUESTION))


def test_access_is_revoked_at_once(system: System, doc_id: str) -> None:
    """Only who is on the list sees the document; off the list is off from that version on, cached or not.  Who comes
    onto it sees it when the question is asked anew, or the cached one has ended."""
    text, question = "The vault under the old mill opens with the number 4711.", "What opens the vault under the mill?"
    system.put_json(doc_id, text=text, access=["ann"])

    def sees(principal: str, **fields: Any) -> bool:
        return any(passage["doc_id"] == doc_id for passage in system.retrieve(question, principal, **fields))

    assert sees("ann") and not sees("bob") and not sees("")
    system.put_json(doc_id, text=text, access=["bob"])
    assert not sees("ann") and sees("bob", cache=False)


def test_filters_see_metadata(system: System, doc_id: str) -> None:
    """Conditions on metadata hold inside the search, and a key that nobody has finds nothing."""
    text, question = "The heron stands in the reeds near the weir.", "Where does the heron stand?"
    system.put_json(doc_id, text=text, metadata={"year": 2024, "lang": "en", "tags": ["bird", "river"]})

    def found(**where: object) -> bool:
        return any(passage["doc_id"] == doc_id for passage in system.retrieve(question, filter=where))

    assert found(year={"gte": 2024}) and found(lang={"eq": "en"}) and found(tags={"any": ["river"]})
    assert not found(year={"gt": 2024}) and not found(lang={"eq": "de"}) and not found(nobody={"eq": "x"})


@pytest.mark.parametrize("raw", ["a/b c/ü#%.md", "//twice//", "@home/notes"])
def test_ids_keep_every_character(system: System, raw: str) -> None:
    """An id means the same with raw slashes, with %2F, and as a Kafka key."""
    from urllib.parse import quote

    doc_id = f"{secrets.token_hex(3)}{raw}" if not raw.startswith(("@", "/")) else raw
    spelled = [quote(doc_id, safe="/"), quote(doc_id, safe="")]
    statuses = [system.put(path, f"Text of a document called {n}.") for n, path in enumerate(spelled)]
    assert {status["doc_id"] for status in statuses} == {doc_id}
    assert statuses[0]["visible_version"] < statuses[1]["visible_version"]
    system.http.delete(f"/v1/documents/{spelled[0]}")


def test_events_stream_and_resume(system: System, doc_id: str) -> None:
    """Stages come live and in order; with Last-Event-ID the stream goes on behind the event named."""
    system.put(doc_id, "The Tarn ferry leaves from the north pier at noon.")
    job = system.http.post("/v1/queries", json={"question": "When does the Tarn ferry leave?"}).json()["job_id"]
    events = system.events(job)
    names = [name for _, name, _ in events]
    assert names[:4] == ["accepted", "retrieving", "passages", "generating"] and names[-1] == "answer"
    assert "token" in names
    resumed = system.events(job, last=events[3][0])
    assert [e for e in resumed if e[1] != "accepted"] == events[4:]
    assert system.http.get(f"/v1/queries/{job}").json()["state"] == "done"


def test_a_pdf_is_cited_by_page(system: System, doc_id: str) -> None:
    """A PDF that is put over HTTP is answerable; its citation names the page.  One that is scanned says so."""
    put = system.http.put(f"/v1/documents/{doc_id}.pdf", content=files.pdf(), headers={"Content-Type": PDF})
    assert system.wait(f"{doc_id}.pdf", put.json()["token"])["status"] == "indexed"
    passages = system.retrieve("What waits at the river for the small fish of the morning?", k=50)
    (cited, *_) = [passage for passage in passages if passage["doc_id"] == f"{doc_id}.pdf"]
    assert cited["section"].startswith("page 1") and "heron" in cited["text"]
    put = system.http.put(f"/v1/documents/{doc_id}.scan", content=files.scanned_pdf(), headers={"Content-Type": PDF})
    status = system.wait(f"{doc_id}.scan", put.json()["token"])
    assert status["status"] == "rejected" and "text recognition" in status["reason"]


def test_bad_records_end_with_a_reason(system: System, doc_id: str) -> None:
    """A record that cannot be read is rejected with a sentence; what was visible stays visible."""
    before = system.put(doc_id, "The first version is fine and says so.")
    producer = Producer({"bootstrap.servers": system.settings.kafka.brokers, "partitioner": "murmur2_random"})
    key = document_key(parse_document_key(doc_id.encode(), {"default"}))
    places = []
    topic = registry.DOCUMENTS.full_name(system.settings.kafka.prefix, "g1")
    producer.produce(topic, b"neither JSON nor typed", key, on_delivery=lambda _, m: places.append(m))
    producer.flush(10)
    status = system.wait(doc_id, f"1.{places[0].partition()}.{places[0].offset()}")
    assert status["status"] == "rejected" and "content-type" in status["reason"]
    assert status["visible_version"] == before["visible_version"]


@pytest.mark.parametrize("worker", ["chunk", "embed", "index", "retrieve", "generate", "deliver", "gateway"])
def test_a_killed_process_comes_back(system: System, doc_id: str, worker: str) -> None:
    """After kill -9 the supervisor starts it again and work goes on; nothing is lost."""
    system.kill(worker)
    until = time.monotonic() + 30
    while True:
        try:
            status = system.put(doc_id, f"The {worker} was killed and the otter swims in lake {doc_id}.")
            answer = system.ask(f"What happens in lake {doc_id}?")
            break
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    assert status["status"] == "indexed" and "otter" in answer["text"]


def test_metrics_and_health_are_served(system: System) -> None:
    """The gateway is ready, tells queue lengths of every lane, and shows its API without the internet."""
    assert system.http.get("/healthz").status_code == 200
    ready = system.http.get("/readyz")
    assert ready.status_code == 200, ready.text
    wanted = {
        f'queue_length{{queue="{lane}"}}' for lane in ("chunk", "embed", "index", "retrieve", "generate", "deliver")
    }
    until = time.monotonic() + DEADLINE  # the gateway has just been killed, and measures the lanes every two seconds
    while missing := {gauge for gauge in wanted if gauge not in system.http.get("/metrics").text}:
        assert time.monotonic() < until, missing
        time.sleep(0.1)
    page = system.http.get("/docs").text
    assert "/v1/queries" in page or "openapi" in page
    assert "//cdn" not in page and "https://" not in page.replace("https://www.w3.org", "")
