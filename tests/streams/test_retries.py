"""What may pass later: how it leaves the lane, comes back, and when it is given up.  Without Kafka."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from connectors.errors import Permanent, Transient, Unclear
from connectors.memory.deliveries import MemoryDeliveries
from runtime.clock import ManualClock, SystemClock, millis
from runtime.retry import Backoff
from runtime.settings import Kafka
from streams import runner as running
from streams.outcome import Defer, Emit, Outcome, Output, Record, Refuse, RefusedStatus, Stage
from streams.retries import ALIKE, TRIES, Retries
from streams.runner import Runner
from tests.streams.memory_stream import MemoryTopics, run_dry
from topics import registry
from topics.retry import Retry, header_of
from topics.spec import dead_letters_of

RETRY = registry.RETRIES[registry.CHUNKS.name]
DLQ = dead_letters_of(registry.CHUNKS)
T0 = 1_700_000_000_000  # ms: where a manual clock begins


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BACKOFF", Backoff(first=0.001, cap=0.005))


def record(offset: int, value: bytes) -> Record:
    return Record("t.chunks.g1", 0, offset, b"key", value, {"own": b"header"}, 77)


class Scripted:
    """A stage whose records say how often they fail: ``name``, or ``name:errors``; and its deferrals."""

    def __init__(self) -> None:
        self.failures: dict[bytes, list[Exception]] = {}
        self.seen: list[Record] = []  # every record of every step
        self.told: list[str] = []  # in order: steps and news
        self.newer: set[bytes] = set()
        self.topics = MemoryTopics()
        self.limit: int | None = None  # bytes that a topic takes

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        self.seen += records
        for each in records:
            assert each.value is not None
            if self.failures.get(each.value):
                self.told.append(f"fail {each.value.decode()}")
                raise self.failures[each.value].pop(0)
        self.told += [f"pass {each.value.decode()}" for each in records if each.value]
        return [Emit([self.output(each, b"done ")], proof=True) for each in records]

    @staticmethod
    def output(record: Record, word: bytes) -> Output:
        return Output(registry.VECTORS, b"key", word + (record.value or b"")[:8], 0)

    async def begin(self, record: Record, reason: str) -> Sequence[Output]:
        self.told.append(f"begin {(record.value or b'').decode()}")
        return [self.output(record, b"begin ")]

    async def end(self, record: Record) -> Sequence[Output]:
        return [self.output(record, b"end ")]

    async def overtaken(self, record: Record) -> bool:
        return record.value in self.newer

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        return [self.output(record, status.encode() + b" ")]

    async def publish(self, outputs: Sequence[Output]) -> None:
        if self.limit is not None and any(len(o.value or b"") > self.limit for o in outputs):
            raise Permanent("too large", reason="too-large")
        await self.topics(outputs)

    def runners(self, partitions: int | None = None, **settings: float) -> tuple[Runner, Runner, Retries]:
        kafka = Kafka.model_validate({"retry_delay": 0.05, "retry_attempts": 2, **settings})
        stage = Stage(
            name="embed", reads=registry.CHUNKS, on_refused=self.on_refused, batch_step=self.step, batch=16,
            linger=0.01, deferrals=self, partitions=partitions,
        )  # fmt: skip
        retries = Retries("embed", RETRY, kafka, SystemClock())
        ledger = MemoryDeliveries()
        return (
            Runner(stage, self.publish, ledger, 4, retries),
            Runner(stage, self.publish, ledger, 4, retries, again=True),
            retries,
        )

    def words(self) -> list[bytes | None]:
        return [output.value for output in self.topics.outputs if output.spec is registry.VECTORS]

    def always(self, value: bytes, error: Exception | None = None) -> None:
        self.failures[value] = [error or Unclear("timeout", reason="timeout")] * 10_000


def letters(scripted: Scripted) -> list[Record]:
    return scripted.topics.of(DLQ.name)


async def test_the_one_that_stays_unclear_leaves_the_lane() -> None:
    """Of a batch only the record that fails alone goes to the retry topic; the others pass, all are acknowledged."""
    scripted = Scripted()
    scripted.always(b"b")
    lane, _, _ = scripted.runners()
    acked = await run_dry(lane, [record(n, v) for n, v in enumerate([b"a", b"b", b"c"])])
    assert [offset for _, _, offset in acked] == [0, 1, 2]
    assert scripted.words() == [b"done a", b"begin b", b"done c"]
    [copy] = scripted.topics.of(RETRY.name)
    assert (copy.key, copy.value, copy.headers["own"]) == (b"key", b"b", b"header")
    assert copy.headers[header_of("offset")] == b"1" and copy.headers[header_of("attempts")] == b"0"
    wait = int(copy.headers[header_of("not_before")]) - int(copy.headers[header_of("first_failed")])
    assert wait == 50
    assert not letters(scripted)


async def test_what_lies_on_a_partition_that_the_lane_lacks() -> None:
    """Copies of records of a topic with more partitions lie where the lane has one, and know where they came from."""
    scripted = Scripted()
    scripted.always(b"b")
    scripted.always(b"c", Permanent("never", reason="never"))
    lane, again, _ = scripted.runners(partitions=4)
    await run_dry(lane, [replace(record(n, v), partition=7) for n, v in enumerate([b"b", b"c"])])
    [copy], [letter] = scripted.topics.of(RETRY.name), letters(scripted)
    assert copy.partition == letter.partition == 3
    scripted.failures[b"b"] = []
    await run_dry(again, [copy])
    assert scripted.seen[-1].place == ("t.chunks.g1", 7, 0)


async def test_a_hiccup_is_over_in_place() -> None:
    """What fails fewer times than are tried in place is not deferred."""
    scripted = Scripted()
    scripted.failures[b"b"] = [Unclear("timeout")] * (TRIES - 1)
    lane, _, _ = scripted.runners()
    await run_dry(lane, [record(0, b"a"), record(1, b"b")])
    assert scripted.words() == [b"done a", b"done b"]


async def test_the_lane_is_told_before_anything_behind_runs() -> None:
    """A deferral is on record before a later record's step, which may move the watermark past it."""
    scripted = Scripted()
    scripted.always(b"b")
    lane, _, _ = scripted.runners()
    await run_dry(lane, [record(0, b"b"), record(1, b"c")])
    assert scripted.told.index("begin b") < scripted.told.index("pass c")


async def test_an_outage_between_unclear_failures_starts_the_count_anew() -> None:
    """What is surely the system's fault is waited out, and what was unclear before it may have been the same."""
    scripted = Scripted()
    unclear, away = Unclear("timeout"), Transient("away")
    scripted.failures[b"a"] = [*[unclear] * (TRIES - 1), *[away] * 9, *[unclear] * (TRIES - 1)]
    lane, _, _ = scripted.runners()
    await run_dry(lane, [record(0, b"a")])
    assert scripted.words() == [b"done a"]


async def test_what_comes_back_is_the_original() -> None:
    """Out of the retry topic comes the record as it was: place, headers, timestamp; and not before its time."""
    scripted = Scripted()
    scripted.failures[b"b"] = [Unclear("timeout")] * TRIES
    lane, again, _ = scripted.runners()
    await run_dry(lane, [record(7, b"b")])
    [copy] = scripted.topics.of(RETRY.name)
    acked = await run_dry(again, [copy])
    assert millis() >= int(copy.headers[header_of("not_before")])
    first, last = scripted.seen[0], scripted.seen[-1]
    assert replace(last, retry=None, copy=None) == first == record(7, b"b")
    assert acked == [copy.place] == [last.delivery]


async def test_the_end_is_told_behind_all_that_came_of_it() -> None:
    """A retried record's outputs are written first, then the news that it waits no more; a refused one's as well."""
    scripted = Scripted()
    scripted.failures[b"b"] = [Unclear("timeout") for _ in range(2 * TRIES)]  # together, then alone
    scripted.failures[b"c"] = [*[Unclear("timeout")] * TRIES, Permanent("never")]
    lane, again, _ = scripted.runners()
    await run_dry(lane, [record(0, b"b"), record(1, b"c")])
    await run_dry(again, scripted.topics.of(RETRY.name))
    assert scripted.words()[2:] == [b"done b", b"end b", b"dead-lettered c", b"end c"]


async def test_overtaken_records_are_dropped() -> None:
    """Where a newer version has passed, the old one is not written behind it; the wait for it ends."""
    scripted = Scripted()
    scripted.always(b"b")
    lane, again, _ = scripted.runners()
    await run_dry(lane, [record(0, b"b")])
    scripted.newer.add(b"b")
    await run_dry(again, scripted.topics.of(RETRY.name))
    assert scripted.words() == [b"begin b", b"end b"] and not letters(scripted)


async def test_given_up_after_tries_that_counted() -> None:
    """A record that fails while others pass becomes a dead letter, with its original place and Connect's headers."""
    scripted = Scripted()
    scripted.always(b"b")
    lane, again, _ = scripted.runners(retry_attempts=3)
    await run_dry(lane, [record(5, b"b")])
    for n in range(3):
        await run_dry(lane, [record(10 + n, b"ok")])
        assert not letters(scripted)
        await run_dry(again, scripted.topics.of(RETRY.name)[-1:])
    [letter] = letters(scripted)
    assert letter.value == b"b" and letter.headers["own"] == b"header"
    told = {name.removeprefix("__connect.errors."): value for name, value in letter.headers.items()}
    assert (told["topic"], told["partition"], told["offset"]) == (b"t.chunks.g1", b"0", b"5")
    assert (told["exception.message"], told["status"]) == (b"tried 3 times, last: timeout", b"dead-lettered")
    assert told["stage"] == b"EMBED" and told["first.failed"].isdigit()
    assert not any(name.startswith("freshet-retry-") for name in letter.headers)
    assert len(scripted.topics.of(RETRY.name)) == 3  # first deferral, and after each try but the last


async def test_an_outage_gives_nothing_up() -> None:
    """However often records fail, none is dead-lettered while none passes."""
    scripted = Scripted()
    for value in (b"a", b"b", b"c", b"d"):
        scripted.always(value)
    lane, again, retries = scripted.runners(retry_attempts=1)
    await run_dry(lane, [record(n, v) for n, v in enumerate([b"a", b"b", b"c", b"d"])])
    for _ in range(5):
        await run_dry(again, scripted.topics.of(RETRY.name)[-4:])
    assert not letters(scripted)
    assert retries.stuck and lane.pause == retries.stuck and again.pause is None
    assert REGISTRY.get_sample_value("freshet_lane_paused", {"stage": "embed"}) == 1
    assert REGISTRY.get_sample_value("freshet_lane_paused", {"stage": "embed.retry"}) == 0
    scripted.failures.clear()
    await run_dry(again, scripted.topics.of(RETRY.name)[-4:])
    assert {b"done a", b"done b", b"done c", b"done d"} <= set(scripted.words())
    assert retries.stuck is None and lane.pause is None
    assert REGISTRY.get_sample_value("freshet_lane_paused", {"stage": "embed"}) == 0


async def test_a_pause_shows_while_it_lasts() -> None:
    """The lane says why it stands still, and since when; afterwards it says nothing."""
    scripted = Scripted()
    lane, _, _ = scripted.runners()
    shown: list[str] = []

    async def step(records: Sequence[Record]) -> Sequence[Outcome]:
        shown.append(lane.pause.reason if lane.pause else "")
        if len(shown) < 3:
            raise Transient("Weaviate is away", reason="away")
        return [Emit()]

    lane._stage = replace(lane._stage, batch_step=step)
    await run_dry(lane, [record(0, b"a")])
    assert shown == ["", "Weaviate is away", "Weaviate is away"] and lane.pause is None


async def test_what_lies_there_by_mistake_is_set_aside() -> None:
    """A record that nobody here put into the retry topic is refused, and no version is blamed for it."""
    scripted = Scripted()
    _, again, _ = scripted.runners()
    await run_dry(again, [record(3, b"stranger")])
    [letter] = letters(scripted)
    assert letter.value == b"stranger" and not scripted.words() and not scripted.seen


async def test_a_record_that_was_begun_before_ends_its_own_deferral() -> None:
    """After a crash between telling the lane and writing the copy, the record that comes again takes the news back."""
    scripted = Scripted()
    lane, _, _ = scripted.runners()
    await lane._deliveries.begin([record(0, b"a")])
    await run_dry(lane, [record(0, b"a"), record(1, b"b")])
    assert scripted.words() == [b"done a", b"end a", b"done b"]


async def test_a_copy_that_no_topic_takes_becomes_a_letter() -> None:
    """Where the retry topic refuses a copy for its size, the record is dead-lettered and nothing waits for it."""
    scripted = Scripted()
    big = b"b" * 50
    scripted.always(big)
    scripted.limit = 40
    lane, _, _ = scripted.runners()
    await run_dry(lane, [record(0, big)])
    [letter] = letters(scripted)
    assert letter.value is None and scripted.words()[-1] == b"end bbbbbbbb"
    assert not scripted.topics.of(RETRY.name)


@pytest.mark.parametrize(
    ("counts", "passed", "expected"), [(None, False, 0), (None, True, 1), (True, False, 1), (False, True, 0)]
)
def test_which_tries_count(counts: bool | None, passed: bool, expected: int) -> None:
    """A failed try counts when others passed since the one before, unless the error itself knows better."""
    clock = ManualClock()
    retries = Retries("index", RETRY, Kafka(), clock)
    failing = record(1, b"x")
    first = retries.failed(failing, Unclear("timeout"))
    assert isinstance(first, Defer) and first.retry.attempts == 0
    if passed:
        clock._now += 1
        retries.passed()
    clock._now += 10
    second = retries.failed(replace(failing, retry=first.retry), Unclear("timeout", counts=counts))
    assert isinstance(second, Defer) and second.retry.attempts == expected
    assert second.retry.first_failed == first.retry.first_failed < second.retry.last_failed


def test_a_new_process_knows_of_no_passes() -> None:
    """What passed before a restart is forgotten, so that it cannot speak against anything."""
    clock = ManualClock()
    old, new = (Retries("index", RETRY, Kafka(retry_attempts=1), clock) for _ in range(2))
    first = old.failed(record(1, b"x"), Unclear("timeout"))
    assert isinstance(first, Defer)
    clock._now += 1
    old.passed()
    clock._now += 1
    again = replace(record(1, b"x"), retry=first.retry)
    assert isinstance(new.failed(again, Unclear("timeout")), Defer)
    assert isinstance(old.failed(again, Unclear("timeout")), Refuse)


async def test_no_clock_makes_a_record_wait_longer_than_the_delay() -> None:
    """A not-before that a fast clock wrote is cut to the delay."""
    clock = ManualClock()
    retries = Retries("index", RETRY, Kafka(retry_delay=10), clock)
    ahead = Retry(
        topic="t", partition=0, offset=0, timestamp=0, attempts=0, not_before=T0 + 3_600_000, first_failed=0,
        last_failed=0, reason="",
    )  # fmt: skip
    await retries.wait(replace(record(0, b"x"), retry=ahead))
    assert 10 <= clock.now() - T0 / 1000 < 11


def test_few_failing_records_are_not_an_outage() -> None:
    """A lane says that nothing passes only when several different records failed in a row, however often one does."""
    retries = Retries("index", RETRY, Kafka(), ManualClock())
    for _ in range(20):
        retries.failed(record(1, b"x"), Unclear("timeout"))
    assert retries.stuck is None
    for n in range(2, ALIKE + 1):
        retries.failed(record(n, b"x"), Unclear("timeout"))
    assert retries.stuck is not None
    retries.ended(record(1, b"x"))
    assert retries.stuck is None
