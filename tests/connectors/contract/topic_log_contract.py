"""What every topic log must do."""

from collections.abc import Awaitable, Callable

from connectors.ports import LoggedRecord, TopicLog

Append = Callable[[int, bytes | None], Awaitable[None]]


async def whole(log: TopicLog, places: dict[int, int]) -> list[LoggedRecord]:
    """Everything from these places to the end as it is now."""
    ends = {p: end for p, end in (await log.ends()).items() if p in places}
    records: list[LoggedRecord] = []
    for _ in range(100):
        if all(places[p] >= end for p, end in ends.items()):
            return records
        more, places = await log.read(places, 5)
        records += more
    raise AssertionError(f"not at {ends} but at {places}")


class TopicLogContract:
    """Subclasses give ``log``, open, over an empty topic of two partitions, and ``append(partition, value)``."""

    async def test_empty_topic(self, log: TopicLog, append: Append) -> None:
        """An empty topic begins where it ends and yields nothing in the time given."""
        assert await log.starts() == await log.ends() == {0: 0, 1: 0}
        assert await log.read({0: 0, 1: 0}, 0.2) == ([], {0: 0, 1: 0})

    async def test_all_is_read_in_order(self, log: TopicLog, append: Append) -> None:
        """Every record of a partition comes once and in order, null values too; other partitions are left alone."""
        for n in range(20):
            await append(n % 2, None if n == 4 else b"%d" % n)
        records = await whole(log, {0: 0, 1: 0})
        for partition in (0, 1):
            mine = [r for r in records if r.partition == partition]
            assert [r.offset for r in mine] == list(range(10))
            assert [r.value for r in mine] == [None if n == 4 else b"%d" % n for n in range(partition, 20, 2)]
        assert {r.partition for r in await whole(log, {1: 0})} == {1}

    async def test_reading_goes_on_and_back(self, log: TopicLog, append: Append) -> None:
        """Reading goes on behind what was read, finds what came later, and may begin again anywhere."""
        await append(0, b"a")
        await append(0, b"b")
        assert [r.value for r in await whole(log, {0: 1})] == [b"b"]
        await append(0, b"c")
        records, places = await log.read({0: 2}, 5)
        assert ([r.value for r in records], places) == ([b"c"], {0: 3})
        assert [r.value for r in await whole(log, {0: 0})] == [b"a", b"b", b"c"]
