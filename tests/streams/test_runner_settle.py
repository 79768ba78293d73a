"""What the runner writes for a group, without Kafka."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from connectors.errors import Permanent, Transient
from connectors.memory.deliveries import MemoryDeliveries
from streams.outcome import Emit, Outcome, Output, Record, Refuse, RefusedStatus, Stage
from streams.runner import Runner, _take
from topics import registry


def record(offset: int) -> Record:
    return Record("t.chunks.g1", 0, offset, b"key", b"value" * 10, {}, 1)


def runner(publish: object) -> Runner:
    async def on_refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        return [Output(registry.VECTORS, b"news", status.encode(), 0)]

    async def step(records: Sequence[Record]) -> Sequence[Outcome]:
        return [Emit()] * len(records)

    stage = Stage(name="embed", reads=registry.CHUNKS, on_refused=on_refused, batch_step=step)
    return Runner(stage, publish, MemoryDeliveries(), 4)  # type: ignore[arg-type]


class Broker:
    """Takes outputs up to a size; fails the first calls when told to."""

    def __init__(self, limit: int = 100, failures: int = 0) -> None:
        self.taken: list[Output] = []
        self._limit, self._failures = limit, failures

    async def __call__(self, outputs: Sequence[Output]) -> None:
        if self._failures:
            self._failures -= 1
            raise Transient("away", reason="broker")
        if any(len(o.value or b"") > self._limit for o in outputs):
            raise Permanent("too large", reason="too-large")
        self.taken += outputs


def output(name: str, size: int = 1) -> Emit:
    return Emit([Output(registry.VECTORS, name.encode(), b"x" * size, 0)])


async def test_one_output_too_large_is_refused_alone() -> None:
    """The record whose output no topic takes becomes a dead letter; its neighbours' outputs go out, in order."""
    broker = Broker()
    await runner(broker)._settle([record(n) for n in range(3)], [output("a"), output("b", 1000), output("c")])
    assert [o.key for o in broker.taken] == [b"a", b"key", b"news", b"c"]
    assert broker.taken[1].headers["__connect.errors.exception.class.name"] == b"too-large"


async def test_a_letter_too_large_goes_without_its_value() -> None:
    """A dead letter that its topic does not take names where the record lies, and leaves the value out."""
    broker = Broker(limit=20)
    await runner(broker)._settle([record(7)], [Refuse("no")])
    letter = broker.taken[0]
    assert letter.value is None and letter.headers["__connect.errors.value.omitted"] == b"true"
    assert letter.headers["__connect.errors.offset"] == b"7"


async def test_an_outage_while_writing_is_waited_out() -> None:
    """Outputs that the broker did not confirm are written again until it does; nothing is refused."""
    broker = Broker(failures=2)
    await runner(broker)._settle([record(1)], [output("a")])
    assert [o.key for o in broker.taken] == [b"a"]


async def test_a_batch_is_closed_by_its_size() -> None:
    """Records are taken until the room is used up, one at least; what is left makes the next batch."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    for size in (100, 10, 10, 200, 1):
        queue.put_nowait(SimpleNamespace(message=SimpleNamespace(value=b"x" * size)))
    taken = [[len(e.message.value) for e in await _take(queue, 3, 0.01, lambda: 50)] for _ in range(3)]
    assert taken == [[100], [10, 10, 200], [1]]
