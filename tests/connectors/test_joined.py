"""connectors/encoders/threaded.py: questions that come together share a pass, and nothing else."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from connectors.encoders.threaded import MOST_JOINED, ThreadedEncoder
from connectors.errors import Permanent
from connectors.ports import Vectors

WAIT = 5.0


class Counting(ThreadedEncoder):
    """A vector is (length, 1); passes stop at the gate, and a text "bad" is not a number."""

    def __init__(self) -> None:
        super().__init__("counting", "none", 2)
        self.passes: list[list[str]] = []
        self.gate, self.began = threading.Event(), threading.Event()

    def _load(self) -> None:
        """Nothing to load."""

    def _run(self, texts: list[str]) -> Vectors:
        self.passes.append(texts)
        self.began.set()
        assert self.gate.wait(WAIT)
        rows = [[np.nan if text == "bad" else float(len(text)), 1.0] for text in texts]
        return np.array(rows, dtype=np.float32)


@pytest.fixture
async def encoder() -> Counting:
    return Counting()


async def started(encoder: Counting, texts: Sequence[str]) -> list["asyncio.Task[Vectors]"]:
    """A call for each text; the first one has begun, the others wait."""
    tasks = [asyncio.create_task(encoder.encode(["first"]))]
    assert await asyncio.to_thread(encoder.began.wait, WAIT)
    tasks += [asyncio.create_task(encoder.encode([text])) for text in texts]
    await asyncio.sleep(0)
    return tasks


def direction(length: float) -> Vectors:
    vector: Vectors = np.array([length, 1.0]) / np.hypot(length, 1.0)
    return vector


async def test_who_waits_shares_a_pass(encoder: Counting) -> None:
    """One alone is not held up; what comes while it runs goes together, no more than so many, each gets its own."""
    texts = ["x" * n for n in range(1, MOST_JOINED + 3)]
    tasks = await started(encoder, texts)
    encoder.gate.set()
    async with asyncio.timeout(WAIT):
        found = await asyncio.gather(*tasks)
    assert encoder.passes == [["first"], texts[:MOST_JOINED], texts[MOST_JOINED:]]
    for text, vectors in zip(["first", *texts], found, strict=True):
        assert vectors.shape == (1, 2) and vectors[0] == pytest.approx(direction(len(text)), abs=1e-6)


async def test_one_bad_text_fails_alone(encoder: Counting) -> None:
    """The others of its pass are encoded all the same."""
    tasks = await started(encoder, ["one", "bad", "four"])
    encoder.gate.set()
    async with asyncio.timeout(WAIT):
        _, one, bad, four = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(bad, Permanent)
    assert isinstance(one, np.ndarray) and isinstance(four, np.ndarray)


async def test_who_left_is_not_encoded(encoder: Counting) -> None:
    """A caller that was cancelled while it waited costs nothing."""
    tasks = await started(encoder, ["gone", "here"])
    tasks[1].cancel()
    await asyncio.sleep(0)
    encoder.gate.set()
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert encoder.passes == [["first"], ["here"]]


async def test_lists_go_as_they_are(encoder: Counting) -> None:
    """A batch of chunks is one call, whatever questions wait."""
    encoder.gate.set()
    assert (await encoder.encode(["a", "bb"])).shape == (2, 2)
    assert encoder.passes == [["a", "bb"]]


async def test_closing_lets_everybody_go(encoder: Counting) -> None:
    """What has not begun when the encoder is closed is cancelled, and does not wait for ever."""
    batch = asyncio.create_task(encoder.encode(["a", "bb"]))
    assert await asyncio.to_thread(encoder.began.wait, WAIT)
    queued = asyncio.create_task(encoder.encode(["queued"]))
    while not encoder._thread or not encoder._thread._work_queue.qsize():
        await asyncio.sleep(0)
    behind = asyncio.create_task(encoder.encode(["behind"]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(encoder.close())
    await asyncio.sleep(0)
    encoder.gate.set()
    async with asyncio.timeout(WAIT):
        await closing
        found = await asyncio.gather(batch, queued, behind, return_exceptions=True)
    assert isinstance(found[0], np.ndarray) and encoder.passes == [["a", "bb"]]
    assert [type(each) for each in found[1:]] == [asyncio.CancelledError] * 2
