"""Deliveries are made when they are due, tried again, and hold up nobody else."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from connectors.errors import Transient
from connectors.memory.webhooks import MemorySender, MemoryWebhooks
from connectors.webhook_ports import Delivery, Endpoint, EndpointRef, Receipt, Salt, Try, secret_of
from runtime.clock import ManualClock, millis
from runtime.settings import Settings, Webhook
from streams.outcome import Record
from streams.webhooks import courier as module
from streams.webhooks.courier import GONE, Courier, settled
from streams.webhooks.notify import Notify
from tests.streams.memory_stream import DEADLINE
from topics.codec import encode, schema_header
from topics.webhooks import Notification

OK = Receipt("delivered", 200)
SALTS = [Salt(salt="new"), Salt(salt="old", until=10**15), Salt(salt="over", until=5)]
ONE = Endpoint(id="we_1", tenant="acme", url="https://one.example/", events=["answer"], created=1, salts=SALTS)
SLOW = replace(ONE, id="we_2", url="https://slow.example/")
REF, SLOW_REF = EndpointRef("acme", "we_1"), EndpointRef("acme", "we_2")


def settings(**environment: str) -> Webhook:
    return Settings.from_env({f"FRESHET_WEBHOOK_{name}": value for name, value in environment.items()}).webhook


@pytest.fixture
async def store(clock: ManualClock) -> MemoryWebhooks:
    found = MemoryWebhooks(clock=clock)
    for endpoint in (ONE, SLOW):
        await found.put(endpoint)
    return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def enqueue(store: MemoryWebhooks, clock: ManualClock, *names: str, ref: EndpointRef = REF) -> None:
    for name in names:
        now = millis(clock.now())
        await store.enqueue(ref, Delivery(id=name, type="answer", created=now, next_at=now), f"body {name}".encode())


async def made(store: MemoryWebhooks, ref: EndpointRef, name: str) -> Delivery:
    found = await store.delivery(ref, name)
    assert found is not None
    return found


@asynccontextmanager
async def running(courier: Courier) -> AsyncIterator[None]:
    task = asyncio.create_task(courier.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(store: MemoryWebhooks, ref: EndpointRef, count: int, state: str = "delivered") -> None:
    """Wait for so many deliveries in this state."""
    async with asyncio.timeout(DEADLINE):
        while sum(each.state == state for each in await store.deliveries(ref, 999)) < count:
            await asyncio.sleep(0.005)


async def test_a_delivery_is_made(store: MemoryWebhooks, clock: ManualClock) -> None:
    """It is sent with its id and body, signed by each secret in force, and noted with what came back."""
    sender = MemorySender()
    courier = Courier(settings(), store, sender)
    await enqueue(store, clock, "msg_a")
    async with running(courier):
        await until(store, REF, 1)
    key = await store.key()
    expected = secret_of(key, "we_1", "new"), secret_of(key, "we_1", "old")
    assert sender.sent == [("https://one.example/", "msg_a", int(clock.now()), b"body msg_a", expected)]
    found = await made(store, REF, "msg_a")
    assert found.state == "delivered" and [each.status for each in found.tries] == [200]


async def test_it_is_tried_by_the_schedule(store: MemoryWebhooks, clock: ManualClock) -> None:
    """After each failure later, with the same id and body; then it is given up, and by hand begun anew."""
    sender = MemorySender(lambda url, id_: Receipt("5xx", 500))
    courier = Courier(settings(RETRIES="5,300"), store, sender)
    await enqueue(store, clock, "msg_a")
    for least, most in ((4, 6), (240, 360)):
        await one_look(courier)
        found = await made(store, REF, "msg_a")
        wait = (found.next_at or 0) / 1000 - clock.now()
        assert least <= wait <= most
        assert await store.claim(REF, millis(clock.now() + wait - 1), 10**15, 5) == []
        await clock.sleep(wait)
    await one_look(courier)
    found = await made(store, REF, "msg_a")
    assert (found.state, found.failures, found.next_at, len(found.tries)) == ("failed", 3, None, 3)
    await clock.sleep(10**7)
    await one_look(courier)
    assert {each[1:2] + each[3:4] for each in sender.sent} == {("msg_a", b"body msg_a")} and len(sender.sent) == 3
    sender.answer = None
    await store.again(REF, "msg_a", millis(clock.now()))
    await one_look(courier)
    assert (await made(store, REF, "msg_a")).state == "delivered"
    assert sender.sent[-1][1] == "msg_a"


async def one_look(courier: Courier) -> None:
    """Everything that is due now, to its end."""
    await courier.look()
    async with asyncio.timeout(DEADLINE):
        while courier.under_way:
            await asyncio.sleep(0)


async def test_a_jump_of_a_worker_s_clock_moves_nothing(
    store: MemoryWebhooks, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures and next tries are by the store's time: a receiver refuses what is signed an hour ahead."""
    monkeypatch.setattr(time, "time", lambda: clock.now() + 3600)
    sender = MemorySender(lambda *_: Receipt("error", 500, error="no"))
    told = Notification(id="job", tenant="acme", type="answer", endpoint="we_1", at=1, data={})
    await Notify(store, lambda: None).step(Record("t", 0, 0, b"job", encode(told), schema_header(told), 1))
    async with running(Courier(settings(RETRIES="5"), store, sender)):
        async with asyncio.timeout(DEADLINE):
            while not (await store.deliveries(REF, 9))[0].failures:
                await asyncio.sleep(0.005)
    [waiting] = await store.deliveries(REF, 9)
    assert waiting.created == millis(clock.now())
    assert [at for _, _, at, _, _ in sender.sent] == [int(clock.now())]
    assert 4 <= (waiting.next_at or 0) / 1000 - clock.now() <= 7


async def test_a_slow_endpoint_holds_up_nobody(store: MemoryWebhooks, clock: ManualClock) -> None:
    """An endpoint that hangs takes its own few places; 200 deliveries to another pass meanwhile."""
    hang = asyncio.Event()

    class Hanging(MemorySender):
        most = now = 0

        async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
            if url == SLOW.url:
                self.now += 1
                self.most = max(self.most, self.now)
                await hang.wait()
                self.now -= 1
            return await super().send(url, message_id, at, body, secrets)

    sender = Hanging()
    await enqueue(store, clock, *(f"slow{n}" for n in range(300)), ref=SLOW_REF)
    await clock.sleep(1)
    await enqueue(store, clock, *(f"quick{n}" for n in range(200)))
    courier = Courier(settings(IN_FLIGHT="16", PER_ENDPOINT="4"), store, sender)
    async with running(courier):
        await until(store, REF, 200)
        assert sender.most == 4
        assert not any(url == SLOW.url for url, *_ in sender.sent)
        hang.set()
        await until(store, SLOW_REF, 300)
    assert sender.most == 4


async def test_who_does_not_answer_gets_one_place(store: MemoryWebhooks, clock: ManualClock) -> None:
    """So that dead endpoints do not fill all places with waiting; one that answers again gets its places back."""
    sender = MemorySender(lambda url, id_: Receipt("timeout"))
    courier = Courier(settings(PER_ENDPOINT="4"), store, sender)
    await enqueue(store, clock, *(f"msg_{n:02}" for n in range(20)))
    for expected in (4, 5, 6):
        await one_look(courier)
        assert len(sender.sent) == expected
    sender.answer = None
    for expected in (7, 11, 15):
        await one_look(courier)
        assert len(sender.sent) == expected


async def test_gone_is_gone(store: MemoryWebhooks, clock: ManualClock) -> None:
    """410 disables the endpoint: what waits is not sent until it is enabled again, and then with the same ids."""
    sender = MemorySender(lambda url, id_: Receipt("gone", 410))
    courier = Courier(settings(PER_ENDPOINT="1"), store, sender)
    await enqueue(store, clock, "msg_a", "msg_b")
    await one_look(courier)
    assert [each[1] for each in sender.sent] == ["msg_a"]
    off = await store.endpoint(REF)
    assert off is not None and off.disabled == GONE
    assert (await made(store, REF, "msg_a")).state == "failed"
    await clock.sleep(10**6)
    await one_look(courier)
    assert len(sender.sent) == 1 and await store.due(10**15, 5) == []
    sender.answer = None
    await store.put(replace(off, disabled=None), instead_of=off)
    await one_look(courier)
    assert [each[1] for each in sender.sent] == ["msg_a", "msg_b"]
    assert (await made(store, REF, "msg_b")).state == "delivered"


async def test_what_waits_for_a_removed_endpoint_is_forgotten(store: MemoryWebhooks, clock: ManualClock) -> None:
    """Also what was enqueued while it was removed."""
    sender = MemorySender()
    await store.remove(REF)
    await enqueue(store, clock, "msg_a")
    await one_look(Courier(settings(), store, sender))
    assert sender.sent == [] and await store.deliveries(REF, 9) == [] and await store.due(10**15, 9) == []


async def test_a_dead_courier_loses_nothing(store: MemoryWebhooks, clock: ManualClock) -> None:
    """What one had taken when it died another makes when the claim is over, with the same id, and then nobody."""

    class Dying(MemorySender):
        async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
            await super().send(url, message_id, at, body, secrets)
            await asyncio.Event().wait()
            return OK

    sender = Dying()
    first = Courier(settings(), store, sender)
    await enqueue(store, clock, "msg_a")
    await first.look()
    async with asyncio.timeout(DEADLINE):
        while not sender.sent:
            await asyncio.sleep(0)
    other = MemorySender()
    second = Courier(settings(), store, other)
    await one_look(second)
    assert other.sent == [], "it is claimed"
    await clock.sleep(settings().timeout + module.CLAIM_MARGIN)
    await one_look(second)
    assert [each[1] for each in sender.sent + other.sent] == ["msg_a", "msg_a"]
    await clock.sleep(10**6)
    await one_look(second)
    assert len(other.sent) == 1


async def test_a_store_that_is_away_is_waited_for(store: MemoryWebhooks, clock: ManualClock) -> None:
    """An outage while looking or settling loses nothing; the try is made again."""

    class Flaky(MemoryWebhooks):
        down = 2

        async def due(self, now: int, limit: int) -> list[EndpointRef]:
            if self.down:
                self.down -= 1
                raise Transient("away")
            return await super().due(now, limit)

        async def settle(self, *arguments: object) -> bool:
            if not self.settled_once:
                self.settled_once = True
                raise Transient("away")
            return await super().settle(*arguments)  # type: ignore[arg-type]

        settled_once = False

    flaky = Flaky(clock=clock)
    await flaky.put(ONE)
    await enqueue(flaky, clock, "msg_a")
    sender = MemorySender()
    async with running(Courier(settings(), flaky, sender)):
        async with asyncio.timeout(DEADLINE):
            while not flaky.settled_once:
                await asyncio.sleep(0.005)
        await clock.sleep(10**3)
        await until(flaky, REF, 1)
    assert [each[1] for each in sender.sent] == ["msg_a", "msg_a"]


async def test_a_stop_lets_tries_end(store: MemoryWebhooks, clock: ManualClock) -> None:
    """A try that is under way when the worker stops is settled, not made twice."""
    begun, answer = asyncio.Event(), asyncio.Event()

    class Waiting(MemorySender):
        async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
            begun.set()
            await answer.wait()
            return OK

    courier = Courier(settings(), store, Waiting())
    await enqueue(store, clock, "msg_a")
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    answer.set()
    await asyncio.gather(task, return_exceptions=True)
    assert (await made(store, REF, "msg_a")).state == "delivered"


def test_retry_after_is_honoured_within_bounds() -> None:
    """An endpoint may ask for more time than the schedule has, up to a bound, never for less."""
    few, one = settings(RETRIES="100,200", RETRY_AFTER="1000"), Delivery(id="a", type="answer", created=0)

    def wait(receipt: Receipt) -> float:
        return (settled(few, one, receipt, 0, 0).next_at or 0) / 1000

    assert wait(Receipt("4xx", 429, retry_after=500)) == 500
    assert wait(Receipt("5xx", 503, retry_after=10**9)) == 1000
    assert 80 <= wait(Receipt("5xx", 503, retry_after=1)) <= 120
    assert len({wait(Receipt("timeout")) for _ in range(20)}) > 10, "there is jitter"


def test_only_the_last_tries_are_shown() -> None:
    """A delivery that is begun anew again and again does not grow."""
    one = Delivery(id="a", type="answer", created=0, tries=[Try(at=n, ms=1, status=500) for n in range(20)])
    found = settled(settings(), one, OK, 99, 1)
    assert len(found.tries) == 20 and found.tries[-1] == Try(at=99, ms=1, status=200)
