"""Texts that callers have embedded by the worker that has the encoder."""

import msgspec
import numpy as np

from connectors.ports import Vectors as Array
from streams.queries import vectors
from tests.flow.inline import Lanes
from topics.queries import AnswerEvent, Embedded, Embedding

TEXTS = [f"Text number {n} about {word}." for n, word in enumerate(["pumps", "valves", "cats", "dusk", "tides", "May"])]


def read(events: list[AnswerEvent], dimension: int) -> Array:
    """The vectors of a job, put together as a gateway does."""
    rows: dict[int, bytes] = {}
    for event in events:
        if event.type == "vectors":
            some = msgspec.convert(event.data, Embedded)
            rows |= {some.first + place: vector for place, vector in enumerate(some.vectors)}
    return np.array([np.frombuffer(rows[n], "<f4") for n in range(len(rows))]).reshape(-1, dimension)


async def test_vectors_are_those_of_the_encoder() -> None:
    """Each text's own, in order, a few in an event, and a receipt behind them."""
    lanes = Lanes()
    events = await lanes.ask("", mode="embed", texts=TEXTS)
    assert [event.type for event in events] == ["retrieving", "vectors", "vectors", "answer"]
    assert np.array_equal(read(events, lanes.encoder.dimension), await lanes.encoder.encode(TEXTS))
    receipt = msgspec.convert(events[-1].data["embedding"], Embedding)
    assert (receipt.count, receipt.dimension, receipt.tokens) == (6, 64, sum(len(text.split()) for text in TEXTS))


async def test_questions_do_not_wait_behind_many_texts() -> None:
    """The encoder gets a few texts at a time."""
    lanes, sizes = Lanes(), []
    encode = lanes.encoder.encode

    async def counted(texts: list[str]) -> Array:
        sizes.append(len(texts))
        return await encode(texts)

    lanes.encoder.encode = counted  # type: ignore[method-assign, assignment]
    await lanes.ask("", mode="embed", texts=TEXTS * 3)
    assert max(sizes) == vectors.AT_ONCE and sum(sizes) == 18


async def test_past_the_deadline_nothing_is_embedded() -> None:
    """A job that expires says so and holds the encoder no longer."""
    lanes, encoded = Lanes(), []
    encode = lanes.encoder.encode

    async def slow(texts: list[str]) -> Array:
        encoded.append(len(texts))
        lanes.clock.now = lambda: 1e12  # type: ignore[method-assign]
        return await encode(texts)

    lanes.encoder.encode = slow  # type: ignore[method-assign, assignment]
    events = await lanes.ask("", mode="embed", texts=TEXTS)
    assert events[-1].data["reason"] == "expired" and encoded == [vectors.AT_ONCE]
    assert (await lanes.ask("", mode="embed", texts=TEXTS, seconds=-1))[-1].data["reason"] == "expired"
