"""How Faust reckons the offset it commits: direct calls, no broker."""

import tracemalloc
from typing import Any

import faust
import pytest
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.app import Consumer, Tables, Transport
from streams.runner import Runner
from tests.upstream.lanes import lives_with

PLACE = TP("topic", 0)


def consumer(transport: type = driver.Transport) -> Any:
    """A consumer that never meets its broker."""
    app = faust.App("direct", broker="aiokafka://127.0.0.1:1")

    async def nothing(*_: Any) -> None: ...

    made = transport(app.conf.broker_consumer, app)
    return made.Consumer(
        made, callback=nothing, on_partitions_revoked=nothing, on_partitions_assigned=nothing
    )  # fmt: skip


def new_offset(consumer: Any, committed: int | None, *acked: int) -> int | None:
    """The offset to commit next."""
    consumer._committed_offset[PLACE] = committed
    consumer._acked[PLACE] = list(acked)
    consumer._acked_index[PLACE] = set(acked)
    found: int | None = consumer._new_offset(PLACE)
    return found


@pytest.mark.parametrize(
    ("committed", "acked", "found"),
    [
        (2585, (2585, 2586), 2587),  # as it should be
        (2585, (2586, 2587), 2588),  # 2585 is missing
        (2585, (2587, 2588), None),  # 2585 and 2586 are missing: held back
        (None, (3, 4), 5),  # nothing committed yet: nothing is ever missing
        (0, (5,), 6),  # nor after a commit of 0
        (10, (10, 12), 11),  # a gap behind the head is seen
    ],
)
async def test_one_missing_offset_is_jumped(committed: int | None, acked: tuple[int, ...], found: int | None) -> None:
    """The next commit is held back only if two or more offsets are missing before the first ack."""
    assert new_offset(consumer(), committed, *acked) == found
    lives_with(Runner._acknowledge, "for event in events")  # what we do instead: acks in order


@pytest.mark.parametrize(("acked", "found"), [((2586, 2587), 2588), ((2587, 2588), 2589), ((10, 12), 13)])
async def test_ours_commits_past_the_last_ack(acked: tuple[int, ...], found: int) -> None:
    """Ours commits one past the last ack whatever is missing, which is right for acks in order and for these alone."""
    assert new_offset(consumer(Transport), 2585, *acked) == found


async def test_gap_includes_the_record_behind_it() -> None:
    """The hole before a record is noted with the record itself in it: an ack behind that commits it, in work or not."""
    faust_consumer = consumer()
    assert new_offset(faust_consumer, None, 10) == 11
    faust_consumer._committed_offset[PLACE] = 11
    await faust_consumer._add_gap(PLACE, 11, 20)  # as on reading 20 after 10
    assert new_offset(faust_consumer, 11, 21) == 22
    lives_with(Consumer._add_gap, "Holes need no bookkeeping")


async def peak_of_a_hole(transport: type, size: int) -> int:
    """Bytes it takes to commit past a hole."""
    subject = consumer(transport)
    await subject._add_gap(PLACE, 1, size)
    tracemalloc.start()
    try:
        assert new_offset(subject, None, 0, size + 1) in {size + 2, 1}
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_hole_is_expanded_into_a_list() -> None:
    """A hole in the log becomes a list of all its offsets when the commit passes it; with ours it costs nothing."""
    size = 200_000
    assert await peak_of_a_hole(driver.Transport, size) > 30 * size
    assert await peak_of_a_hole(Transport, size) < 100_000


async def test_tables_are_waited_for() -> None:
    """Faust sleeps a second before it subscribes, in case tables are declared late; ours does not."""

    class Stopping(TableManager):
        slept = 0.0

        async def sleep(self, n: Any) -> None:
            self.slept = n
            self._stopped.set()

    tables = Stopping(faust.App("direct", broker="aiokafka://127.0.0.1:1"))
    await tables.on_start()
    assert tables.slept == 1.0
    lives_with(Tables.on_start, "await self.recovery.start()")
