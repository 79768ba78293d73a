"""Retries on real Kafka, with real processes: what waits holds up nothing, comes out, or is given up for a reason."""

import asyncio
import time
from pathlib import Path

import pytest
from confluent_kafka import Message

from gateway.lanes import Lanes
from runtime.clock import millis
from tests.streams.lane import Lane
from topics import registry
from topics.headers import read_headers
from topics.retry import Retry
from topics.spec import dead_letters_of

pytestmark = [pytest.mark.servers]
batch = pytest.mark.parametrize("lane", ["batch"], indirect=True)
RETRY = registry.RETRIES[registry.CHUNKS.name]
DLQ = dead_letters_of(registry.CHUNKS)


def headers_of(message: Message) -> dict[str, bytes]:
    return read_headers(message.headers())  # type: ignore[arg-type]


@batch
def test_what_waits_holds_up_nothing_and_comes_out(lane: Lane, tmp_path: Path) -> None:
    """Records behind one that is deferred pass at once; that one comes out after its delay, its end told last."""
    lane.environment["FRESHET_RETRY_DELAY"] = "1.5"
    trouble = tmp_path / "trouble"
    trouble.touch()
    word = f"unclear:{trouble}".encode()
    lane.send("ok1", word, "ok2")
    assert set(lane.outputs(2)) == {b"ok1", b"ok2"}
    copy = lane.messages(lane.name(RETRY), 1)[0]
    assert copy.value() == word and copy.partition() == 0
    retry = Retry.of(headers_of(copy))
    assert (retry.topic, retry.partition, retry.offset) == (lane.name(registry.CHUNKS), 0, 1)
    trouble.unlink()
    [out] = [m for m in lane.messages(lane.name(registry.VECTORS), 3) if m.value() == word]
    assert out.timestamp()[1] >= retry.not_before
    assert lane.read(lane.name(registry.INDEX_EVENTS), 2) == [b"begin " + word, b"end " + word]
    assert not lane.read(lane.name(DLQ), 1, seconds=0.5)


@batch
def test_an_outage_dead_letters_nothing(lane: Lane, tmp_path: Path) -> None:
    """While nothing passes, no try counts, however few are allowed; a worker killed meanwhile changes nothing."""
    lane.environment |= {"FRESHET_RETRY_DELAY": "0.2", "FRESHET_RETRY_ATTEMPTS": "1"}
    trouble = tmp_path / "trouble"
    trouble.touch()
    words = [f"unclear:{trouble}".encode()] + [f"unclear:{tmp_path}/./{n}/../trouble".encode() for n in "ab"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lane.send(*words)
    assert "none passes" in (lane.wait_for_pause("embed", paused=True) or "")
    lane.kill()
    lane.wait_for_pause("embed", paused=True)
    assert not lane.read(lane.name(DLQ), 1, seconds=1)
    trouble.unlink()
    assert set(lane.outputs(3)) == set(words)
    lane.wait_for_pause("embed", paused=False)
    assert not lane.read(lane.name(DLQ), 1, seconds=0.5)


@batch
def test_given_up_and_redriven(lane: Lane, tmp_path: Path) -> None:
    """What fails while others pass becomes a dead letter; redriven after the cause is gone it comes out like any."""
    lane.environment |= {"FRESHET_RETRY_DELAY": "0.2", "FRESHET_RETRY_ATTEMPTS": "2"}
    trouble = tmp_path / "trouble"
    trouble.touch()
    word = f"unclear:{trouble}".encode()
    lane.send("ok", word)
    letters: list[Message] = []
    until = time.monotonic() + 60
    while not letters:
        assert time.monotonic() < until
        lane.send(f"ok{time.monotonic()}")
        letters = lane.messages(lane.name(DLQ), 1, seconds=0.3)
    told = headers_of(letters[0])
    assert letters[0].value() == word
    assert told["__connect.errors.topic"] == lane.name(registry.CHUNKS).encode()
    assert (told["__connect.errors.partition"], told["__connect.errors.offset"]) == (b"0", b"1")
    assert told["__connect.errors.exception.message"] == b"tried 2 times, last: cannot tell"
    until = time.monotonic() + 30
    while b"refused:dead-lettered" not in lane.read(lane.name(registry.VECTORS), 1000, seconds=0.5):
        assert time.monotonic() < until
    assert "1 dead letters" in lane.freshet("dlq", "list", "--lane", "embed")[1]
    trouble.unlink()
    assert lane.freshet("dlq", "redrive", "embed/0/0") == (0, "1 redriven")
    until = time.monotonic() + 30
    while word not in lane.read(lane.name(registry.VECTORS), 1000, seconds=0.5):
        assert time.monotonic() < until
    assert "0 dead letters" in lane.freshet("dlq", "list", "--lane", "embed")[1]


@batch
def test_many_that_wait_hold_up_nothing(lane: Lane) -> None:
    """More waiting records than a queue holds leave the lane free; the gateway sees how many, and who works there."""
    lane.environment["FRESHET_RETRY_DELAY"] = "120"
    now = millis()
    retry = Retry(
        topic=lane.name(registry.CHUNKS), partition=0, offset=0, timestamp=now, attempts=0, not_before=now + 120_000,
        first_failed=now, last_failed=now, reason="told to",
    )  # fmt: skip
    lane.append(RETRY, *[(b"ok", retry.headers())] * 2000)
    lane.start()
    time.sleep(5)  # long enough for the reader to run into what waits
    lane.send(*(f"ok{n}" for n in range(20)))
    assert set(lane.outputs(20, seconds=20)) == {f"ok{n}".encode() for n in range(20)}
    kafka = lane.settings.kafka
    lanes = Lanes({"bootstrap.servers": kafka.brokers}, kafka.prefix, lane.settings.documents.generation)
    assert asyncio.run(lanes.queue_lengths())["embed.retry"] == 2000
    checks = asyncio.run(lanes.checks())
    assert checks["lane.embed"] is None and checks["topics"] is None and "lane.embed.retry" not in checks
    lanes.close()
