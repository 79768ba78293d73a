"""The real `openai` client against the real system."""

import secrets
import struct
import time
from typing import Any

import openai
import pytest

from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers
TEXT = "# {0}\n\nThe {0} valve was built in Trondheim. It is oiled in May, by hand.\n"


@pytest.fixture
def client(system: System) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{system.stack.door}/v1", api_key="none", max_retries=0)


@pytest.fixture
def name(system: System) -> str:
    """A word that no other test uses, and a document about it that has an address."""
    word = f"quern{secrets.token_hex(3)}"
    status = system.http.put(
        f"/v1/documents/openai/{word}.md", content=TEXT.format(word), headers={"Content-Type": "text/markdown"},
        params={"uri": f"https://example.org/{word}", "title": word},
    )  # fmt: skip
    assert system.wait(f"openai/{word}.md", status.json()["token"])["status"] == "indexed"
    return word


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_a_chat_is_answered_from_the_documents(client: openai.OpenAI, name: str) -> None:
    """Whole and streamed the same text, with the document's address where its marker stands."""
    messages = [user(f"Where was the {name} valve built?")]
    whole = client.chat.completions.create(model="freshet", messages=messages)
    message = whole.choices[0].message
    assert message.content and "Trondheim" in message.content and message.annotations
    cited = message.annotations[0].url_citation
    assert cited.url == f"https://example.org/{name}" and message.content[cited.start_index] == "["
    assert (whole.model_extra or {})["freshet"]["documents"][f"openai/{name}.md"]
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="freshet", messages=messages, stream=True, stream_options=options)
    )
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert told.strip() == message.content and chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_a_follow_up_is_understood(client: openai.OpenAI, system: System, name: str) -> None:
    """What "it" is comes from the history, here by its terms, and the answer says so; so it is at the native door."""
    said = [user(f"Where was the {name} valve built?"), {"role": "assistant", "content": "In Trondheim [1]."}]
    found = client.chat.completions.create(model="freshet", messages=[*said, user("And when is it oiled?")])
    extra = (found.model_extra or {})["freshet"]
    assert "May" in (found.choices[0].message.content or "") and name in extra["standalone"]
    assert extra["degraded"] == ["follow-up-joined"]
    answer = system.ask("And when is it oiled?", history=said)
    assert "May" in answer["text"] and answer["standalone"] == extra["standalone"]


def test_vectors_of_the_encoder(client: openai.OpenAI) -> None:
    """Of unit length, in order, alike for what is alike, and the same as numbers and in base64."""
    texts = [f"Sentence number {n} is about herons." for n in range(9)] + ["The stock market fell."]
    found = client.embeddings.create(model="freshet-embedding", input=texts)
    plain = client.embeddings.create(model="freshet-embedding", input=texts, encoding_format="float")
    rows = [each.embedding for each in found.data]
    assert len(rows) == 10 and rows == [
        list(struct.unpack("<384f", struct.pack("<384f", *p.embedding))) for p in plain.data
    ]

    def likeness(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(rows[one], rows[other], strict=True))

    assert abs(likeness(0, 0) - 1) < 1e-3 and likeness(0, 1) > likeness(0, 9) + 0.3
    assert found.usage.prompt_tokens > 9 * 5


def test_a_token_is_waited_for(client: openai.OpenAI, system: System, name: str) -> None:
    """`at_least` goes along as `freshet`, and what was published a moment ago is in the answer."""
    body = TEXT.format(name).replace("Trondheim", "Bergen")
    put = system.http.put(f"/v1/documents/openai/{name}.md", content=body, headers={"Content-Type": "text/markdown"})
    extra = {"freshet": {"at_least": [put.json()["token"]]}}
    found = client.chat.completions.create(
        model="freshet", messages=[user(f"Where was the {name} valve built?")], extra_body=extra
    )
    assert "Bergen" in (found.choices[0].message.content or "")


def test_models_are_listed(client: openai.OpenAI) -> None:
    """Both names."""
    assert [model.id for model in client.models.list()] == ["freshet", "freshet-embedding"]


def test_who_leaves_pays_no_more(client: openai.OpenAI, system: System, name: str) -> None:
    """A client that gives up waiting closes its connection, and its job is cancelled; with a key it goes on."""
    unreached = {"freshet": {"at_least": ["1.0.999999999999"]}}
    impatient = client.with_options(timeout=1.0)
    asked = {"left": f"Where was the {name} valve built?", "kept": f"When is the {name} valve oiled?"}
    for way, question in asked.items():
        headers = {"Idempotency-Key": name} if way == "kept" else {}
        with pytest.raises(openai.APITimeoutError):
            impatient.chat.completions.create(
                model="freshet", messages=[user(question)], extra_body=unreached, extra_headers=headers
            )
    until, states = time.monotonic() + DEADLINE, dict[str, str]()
    while time.monotonic() < until and set(states.values()) != {"cancelled", "done"}:
        jobs = system.http.get("/v1/queries").json()["jobs"]
        states = {job["question"]: job["state"] for job in jobs if job["question"] in asked.values()}
        time.sleep(0.05)
    assert states == {asked["left"]: "cancelled", asked["kept"]: "done"}
