"""Notifications become deliveries, once."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from connectors.memory.webhooks import MemoryWebhooks
from connectors.webhook_ports import Endpoint, EndpointRef, Salt
from runtime.clock import ManualClock
from streams.outcome import Drop, Emit, Record, Refuse
from streams.webhooks.notify import Notify
from topics.codec import encode, schema_header
from topics.webhooks import EventName, Notification, message_id

NOW = 1_700_000_000_000
ONE = Endpoint(
    id="we_1", tenant="acme", url="https://one.example/", events=["answer"], created=1, salts=[Salt(salt="a")]
)
TWO = replace(ONE, id="we_2", url="https://two.example/", events=["answer", "error"])
ELSEWHERE = replace(ONE, id="we_3", tenant="other")


def record(endpoint: str = "*", type_: EventName = "answer", tenant: str = "acme", name: str = "job") -> Record:
    notification = Notification(
        id=name, tenant=tenant, endpoint=endpoint, type=type_, at=NOW + 123, data={"job_id": name, "ä": 1}
    )
    return Record("t", 0, 0, b"job", encode(notification), schema_header(notification), NOW)


@pytest.fixture
async def store() -> MemoryWebhooks:
    found = MemoryWebhooks(max_waiting=2, clock=ManualClock())
    for endpoint in (ONE, TWO, ELSEWHERE):
        await found.put(endpoint)
    return found


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def notify(store: MemoryWebhooks, woken: list[int]) -> Notify:
    return Notify(store, lambda: woken.append(1))


async def waiting(store: MemoryWebhooks, endpoint: Endpoint = ONE) -> list[str]:
    return [each.id for each in await store.deliveries(EndpointRef(endpoint.tenant, endpoint.id), 99)]


async def test_all_endpoints_that_want_it_are_told(store: MemoryWebhooks, notify: Notify, woken: list[int]) -> None:
    """`*` is every endpoint of the tenant that has the event on its list, and nobody else's."""
    assert await notify.step(record()) == Emit()
    assert await waiting(store) == [message_id("we_1", "job")]
    assert await waiting(store, TWO) == [message_id("we_2", "job")]
    assert await waiting(store, ELSEWHERE) == []
    assert await notify.step(record(type_="error", name="job2")) == Emit()
    assert len(await waiting(store)) == 1 and len(await waiting(store, TWO)) == 2
    assert woken


async def test_one_endpoint_is_told(store: MemoryWebhooks, notify: Notify) -> None:
    """An endpoint by its id, within the tenant alone."""
    assert await notify.step(record("we_2")) == Emit()
    assert await notify.step(record("we_3")) == Drop("no-endpoint"), "it is another tenant's"
    assert await notify.step(record("we_9")) == Drop("no-endpoint"), "it is gone"
    assert await notify.step(record("we_1", "error")) == Drop("no-endpoint"), "it does not want these"
    assert (await waiting(store), len(await waiting(store, TWO)), await waiting(store, ELSEWHERE)) == ([], 1, [])


async def test_told_twice_is_delivered_once(store: MemoryWebhooks, notify: Notify) -> None:
    """The same record again, as after a crash, makes no second delivery, and its id is the endpoint's own."""
    for _ in range(3):
        assert await notify.step(record("we_1")) == Emit()
    assert await waiting(store) == [message_id("we_1", "job")]
    assert message_id("we_1", "job") != message_id("we_2", "job") != message_id("we_2", "job2")
    assert "." not in message_id("we_1", "job.with.dots"), "a dot would let a sender shift what is signed"


async def test_the_body_is_the_standards(store: MemoryWebhooks, notify: Notify) -> None:
    """Type, time of the happening, data."""
    await notify.step(record("we_1"))
    [claim] = await store.claim(EndpointRef("acme", "we_1"), NOW + 10**6, NOW + 2 * 10**6, 9)
    body: dict[str, Any] = json.loads(claim.body)
    assert body == {"type": "answer", "timestamp": "2023-11-14T22:13:20.123Z", "data": {"job_id": "job", "ä": 1}}
    assert claim.delivery.next_at == claim.delivery.created == NOW


async def test_nothing_is_begun_for_a_disabled_endpoint(store: MemoryWebhooks, notify: Notify) -> None:
    """Nor for one for which too many wait; others are told all the same."""
    await store.put(replace(ONE, disabled="gone"), instead_of=ONE)
    assert await notify.step(record()) == Emit()
    assert await waiting(store) == [] and len(await waiting(store, TWO)) == 1
    assert await notify.step(record("we_2", name="b")) == Emit()
    assert await notify.step(record("we_2", name="c")) == Drop("no-endpoint"), "two wait, which is the most"
    assert await store.backlog(EndpointRef("acme", "we_2")) == (2, 1)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[1]", b"\xff", b'{"id": 1}'])
async def test_what_is_no_notification(notify: Notify, value: bytes | None) -> None:
    """It is refused, for the dead letters."""
    found = await notify.step(replace_value(value))
    assert isinstance(found, Refuse) and found.reason == "undecodable"


def replace_value(value: bytes | None) -> Record:
    return Record("t", 0, 0, b"job", value, {}, NOW)
