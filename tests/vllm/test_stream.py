"""From a real vLLM through Kafka to a reader of server-sent events: the whole system."""

import secrets
import time
from typing import Any

import pytest

from tests.e2e.conftest import System
from tests.vllm.conftest import MODEL
from tests.vllm.faults import Faults
from tests.vllm.tiny_llama import SENTENCE

pytestmark = pytest.mark.vllm
ABOUT_TWO = SENTENCE.replace(" [3]", "")  # what may be said of two passages: the model's [3] is shown to nobody
Events = list[tuple[str | None, str, dict[str, Any]]]


@pytest.fixture(scope="module")
def town(system: System) -> str:
    """A name that five documents speak of, at such length that not all of them fit into the model's window."""
    town = f"Quill{secrets.token_hex(3)}"
    for n in range(5):
        about = f"The ferry of {town} leaves from pier {n} at noon. " + "It carries mail, apples and passengers. " * 14
        assert system.put(f"{town}/{n}.md", f"# {town}\n\n{about}")["status"] == "indexed"
    return town


def follow(system: System, town: str, **fields: Any) -> Events:
    body = {"question": f"When does the ferry of {town} leave?", "cache": False, **fields}  # each is to be written
    response = system.http.post("/v1/queries", json=body)
    assert response.status_code == 202, response.text
    return system.events(response.json()["job_id"])


def texts(events: Events) -> list[str]:
    return [data["text"] for _, name, data in events if name == "token"]


def test_tokens_reach_the_reader_in_order(system: System, endpoint: Faults, town: str) -> None:
    """They come while the model still speaks, in its order and none twice, and the answer is what they spell."""
    endpoint.plan("slow")
    events = follow(system, town, k=2)
    names = [name for _, name, _ in events]
    assert names[:4] == ["accepted", "retrieving", "passages", "generating"]
    assert set(names[4:-1]) == {"token"} and names[-1] == "answer" and len(texts(events)) > 5
    assert "".join(texts(events)) == ABOUT_TWO
    offsets = [int(offset) for offset, _, _ in events if offset]
    assert offsets == sorted(set(offsets))
    answer = events[-1][2]
    assert answer["model"] == MODEL and answer["text"] == ABOUT_TWO and not answer.get("degraded")
    assert [citation["marker"] for citation in answer["citations"]] == [1, 2]
    assert all(citation["doc_id"].startswith(town) for citation in answer["citations"])


def test_what_does_not_fit_is_dropped_and_told(system: System, endpoint: Faults, town: str) -> None:
    """Of more passages than the window holds, the best are answered from, and only they are cited."""
    events = follow(system, town, k=10)
    offered = next(data["passages"] for _, name, data in events if name == "passages")
    answer = events[-1][2]
    (label,) = answer["degraded"]
    kept = len(offered) - int(label.removeprefix("passages-dropped:"))
    assert 0 < kept < len(offered) and endpoint.asked == 1
    best = [passage["chunk_id"] for passage in offered[:kept]]
    assert [citation["chunk_id"] for citation in answer["citations"]] == best[:3]
    assert set(answer["documents"]) == {passage["doc_id"] for passage in offered[:kept]}


def test_a_stream_that_is_cut_begins_again(system: System, endpoint: Faults, town: str) -> None:
    """The reader is told that the answer begins anew, and what follows is whole."""
    endpoint.plan("cut")
    events = follow(system, town, k=2)
    again = [name for _, name, _ in events].index("restarted")
    assert texts(events[:again]) and "".join(texts(events[again:])) == ABOUT_TWO
    assert events[-1][2]["model"] == MODEL and not events[-1][2].get("degraded")


def test_silence_is_answered_in_time(system: System, endpoint: Faults, town: str) -> None:
    """Before its deadline a question has an answer, quoted and labelled, though the model never said a word."""
    endpoint.plan("silence")
    began = time.monotonic()
    events = follow(system, town, k=2, timeout=6)
    answer = events[-1][2]
    assert time.monotonic() - began < 6 and answer["model"] == "extractive" and "ferry" in answer["text"]
    assert answer["degraded"] == ["model-0:timeout"]
