"""Jobs that ended become notifications, where somebody is to be told."""

from typing import Any

import pytest

from connectors.job_ports import FinalEvent, JobRef, StoredJob
from connectors.memory.jobs import MemoryJobs
from connectors.memory.webhooks import MemoryWebhooks
from connectors.webhook_ports import Endpoint, EndpointRef, Salt
from runtime.clock import ManualClock
from streams.outcome import Emit, Output, Record
from streams.queries.deliver import Deliver
from streams.queries.events import Teller
from streams.webhooks.notifications import JobWebhooks
from streams.webhooks.notify import Notify
from topics.codec import decode
from topics.headers import Hop
from topics.identity import partition_of
from topics.webhooks import Notification

JOB = "019abb0c1e2f00030123456789abcdef0123"
ENDED = FinalEvent(type="answer", attempt="a", seq=3, offset=9, at=1_700_000_000_123)


def job(webhook: str | None = "we_1", kind: str = "answer", **data: Any) -> StoredJob:
    final = FinalEvent(type=kind, attempt="a", seq=3, offset=9, at=ENDED.at)
    return StoredJob(ref=JobRef("acme", JOB), webhook=webhook, final=final, data=data or {"text": "Yes."})


async def told(one: StoredJob, max_bytes: int = 10_000) -> list[Notification]:
    outputs = await JobWebhooks(4, max_bytes)(one)
    assert all(output.partition == partition_of(output.key, 4) for output in outputs)
    return [decode(output.value or b"", Notification) for output in outputs]


async def test_an_answer_is_told() -> None:
    """With the job, the answer, where it is, and an id that comes from the job."""
    [found] = await told(job())
    assert found == Notification(
        id=JOB, tenant="acme", endpoint="we_1", type="answer", at=ENDED.at,
        data={"job_id": JOB, "answer": {"text": "Yes."}, "links": {"self": f"/v1/queries/{JOB}"}},
    )  # fmt: skip


async def test_an_error_is_told() -> None:
    """With its reason."""
    [found] = await told(job(kind="error", reason="expired", message="too late"))
    assert found.type == "error" and found.data["error"] == {"reason": "expired", "message": "too late"}


async def test_nobody_is_told_who_did_not_ask() -> None:
    """A job that names no webhook costs no record, nor one that has not ended."""
    assert await told(job(webhook=None)) == []
    running = job()
    running.final = None
    assert await told(running) == []


async def test_a_large_answer_is_linked() -> None:
    """It is left out, and the message says so; the record stays small."""
    [found] = await told(job(text="x" * 5000), max_bytes=2000)
    assert found.data == {
        "job_id": JOB, "answer": None, "left_out": "more than 2000 bytes", "links": {"self": f"/v1/queries/{JOB}"},
    }  # fmt: skip


@pytest.mark.parametrize("final", ["answer", "error"])
async def test_from_the_hop_to_the_delivery(final: str) -> None:
    """What a gateway wrote into the hop comes through `answers` and `deliver` to the endpoint, and only once.

    Also where the last event comes from somebody who does not know the hop's webhook, as a cancellation does.
    """
    hop = Hop(job_id=JOB, deadline=2 * 10**12, reply_partition=0, tenant="acme", webhook="we_1")
    assert Hop.of(hop.headers()) == hop
    teller = Teller(hop, "generate", ManualClock())
    written = [teller.event("generating")]
    if final == "answer":
        written.append(teller.event("answer", {"text": "Yes."}))
    else:
        stranger = Hop(job_id=JOB, deadline=2 * 10**12, reply_partition=0, tenant="acme")
        written.append(Teller(stranger, "generate", ManualClock()).error("cancelled", "as was asked"))
    records = [as_record(output, number) for number, output in enumerate(written)]
    deliver = Deliver(MemoryJobs(), [JobWebhooks(4, 10_000)])
    store = MemoryWebhooks(clock=ManualClock())
    await store.put(
        Endpoint(
            id="we_1",
            tenant="acme",
            url="https://e.example/",
            events=["answer", "error"],
            created=1,
            salts=[Salt(salt="a")],
        )
    )
    notify = Notify(store, lambda: None)
    for _ in range(2):  # as after a crash before the acknowledgement
        for outcome in await deliver.step(records):
            assert isinstance(outcome, Emit)
            for output in outcome.outputs:
                assert await notify.step(as_record(output, 0)) == Emit()
    [delivery] = await store.deliveries(EndpointRef("acme", "we_1"), 9)
    assert delivery.type == final


def as_record(output: Output, offset: int) -> Record:
    return Record(output.spec.name, output.partition, offset, output.key, output.value, output.headers, 1)
