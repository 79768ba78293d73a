"""The Kafka log keeps the contract on a real broker, and what only a real broker shows."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cli.control import read_epochs, tell
from cli.topics import plans_of
from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.kafka_log import KafkaLog
from gateway.log_time import LogTime
from gateway.ports import Expunged, RecordTooLarge
from runtime.clock import millis
from runtime.settings import Settings
from tests.gateway.builders import door_settings, serving, sse_events, token, whole_story
from tests.gateway.log_contract import Ears, LogContract, Say, ask, eventually
from topics import provision
from topics.codec import encode
from topics.control import Epoch
from topics.epochs import Epochs, first_epoch, next_epoch
from topics.identity import job_place, mint_job_id, partition_of
from topics.queries import AnswerEvent
from topics.registry import ANSWERS, DOCUMENTS, QUERIES, documents_of

pytestmark = pytest.mark.servers


@pytest.fixture
def ears() -> Ears:
    """Who listens."""
    return Ears()


@pytest.fixture
async def opened(topics_made: Settings, ears: Ears) -> AsyncIterator[KafkaLog]:
    """The log, followed."""
    log = KafkaLog(topics_made)
    await log.open(ears.deliver, ears.wanted)
    await eventually(log.reply_partitions)
    yield log
    await log.close()


@pytest.fixture
def say(topics_made: Settings) -> Say:
    """A worker's pen."""
    producer = Producer({"bootstrap.servers": topics_made.kafka.brokers, "linger.ms": 0})
    topic = ANSWERS.full_name(topics_made.kafka.prefix, "")

    async def write(event: AnswerEvent) -> None:
        producer.produce(topic, encode(event), event.job_id.encode(), partition=job_place(event.job_id)[0])
        assert await asyncio.to_thread(producer.flush, 20) == 0

    return write


class TestKafkaLog(LogContract):
    """See :class:`LogContract`."""

    async def test_the_partition_is_everybody_s(self, opened: KafkaLog, topics_made: Settings) -> None:
        """A key lies where Java, Connect and aiokafka would put it."""
        for key in (b"a", b"docs/x", "über".encode(), b"@acme/1"):
            place = await opened.publish(DOCUMENTS, key, b"x", {}, 20)
            assert place.partition == (murmur2(key) & 0x7FFFFFFF) % topics_made.kafka.partitions

    async def test_too_large_for_the_topic(self, opened: KafkaLog) -> None:
        """What the broker refuses for its size is told as such; the largest document that the door takes fits."""
        await opened.publish(DOCUMENTS, b"large", b"x" * (8 * 1024 * 1024 - 4096), {}, 20)
        with pytest.raises(RecordTooLarge):
            await opened.publish(DOCUMENTS, b"large", b"x" * (8 * 1024 * 1024 + 1024), {}, 20)

    async def test_what_was_said_before_is_not_delivered(self, topics_made: Settings, ears: Ears, say: Say) -> None:
        """Following begins at the end: a restarted gateway does not wade through a day of answers."""
        job_id = mint_job_id(0)
        ears.jobs.add(job_id)
        await say(token("a", 0, "before", job_id))
        log = KafkaLog(topics_made)
        await log.open(ears.deliver, ears.wanted)
        await eventually(log.reply_partitions)
        await say(token("a", 1, "after", job_id))
        heard = await ears.until(1)
        await log.close()
        assert [e.event.data["text"] for e in heard] == ["after"]

    async def test_replicas_share_the_partitions(self, topics_made: Settings) -> None:
        """Each reply partition belongs to one gateway."""
        shares: list[int] = []
        for replica in (0, 1, 2):
            gateway = topics_made.gateway.model_copy(update={"replica": replica, "replicas": 3})
            log = KafkaLog(topics_made.model_copy(update={"gateway": gateway}))
            await log.open(lambda _: None, lambda _: False)
            await eventually(log.reply_partitions)
            shares += log.reply_partitions()
            await log.close()
            assert log.reply_partitions() == ()
        assert sorted(shares) == list(range(topics_made.kafka.reply_partitions))

    async def test_past_retention(self, opened: KafkaLog, topics_made: Settings) -> None:
        """When a question's place has been deleted, that is told apart from a job that never was."""
        job_id = mint_job_id(0)
        place = await ask(opened, job_id)
        await ask(opened, _same_partition(job_id, topics_made))  # an empty partition would not say how old it is
        admin = AdminClient({"bootstrap.servers": topics_made.kafka.brokers})
        end = TopicPartition(QUERIES.full_name(topics_made.kafka.prefix, ""), place.partition, place.offset + 1)
        await asyncio.gather(*(asyncio.wrap_future(done) for done in admin.delete_records([end]).values()))
        with pytest.raises(Expunged):
            await opened.find_question(job_id)

    async def test_a_clock_that_was_ahead_hides_no_job(self, opened: KafkaLog, topics_made: Settings) -> None:
        """One question whose writer's clock was an hour ahead lies before another: both are found."""
        ahead = mint_job_id(0)
        later = _same_partition(ahead, topics_made)
        client = Producer({"bootstrap.servers": topics_made.kafka.brokers, "partitioner": "murmur2_random"})
        topic = QUERIES.full_name(topics_made.kafka.prefix, "")
        client.produce(topic, b"{}", ahead.encode(), timestamp=millis() + 3_600_000)
        assert await asyncio.to_thread(client.flush, 20) == 0
        await ask(opened, later)
        assert await opened.find_question(later) is not None

    async def test_brokers_tell_the_time(self, opened: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a clock that is an hour off, a gateway knows the brokers' time from the first question on."""
        for hours in (-1, 1):
            ours = LogTime()
            ours._ahead += hours * 3600
            monkeypatch.setattr("gateway.producer.LOG_TIME", ours)
            await ask(opened, mint_job_id(0))
            assert abs(ours.seconds() - time.time()) < 5

    async def test_lanes_without_workers(self, opened: KafkaLog) -> None:
        """Topics, broker and reply partitions are well, and every lane says that nobody works there."""
        checks = await opened.checks()
        assert checks["broker"] is checks["topics"] is checks["replies"] is None
        lanes = {name: reason for name, reason in checks.items() if name.startswith("lane.")}
        stages = ("chunk", "embed", "index", "retrieve", "generate", "deliver", "notify")
        assert lanes == {f"lane.{stage}": "no worker" for stage in stages}


async def test_all_epochs_are_one_queue(settings: Settings) -> None:
    """Epochs are those that `control` tells; readiness wants their topics, and the queue adds them up."""
    kafka = settings.kafka.model_copy(update={"prefix": f"e{secrets.token_hex(4)}"})
    own = settings.model_copy(update={"kafka": kafka})
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    provision.apply(admin, plans_of(own))
    log = KafkaLog(own)
    await log.open(lambda _: None, lambda _: False)
    try:
        first = first_epoch(kafka.prefix, kafka.partitions)
        assert (await asyncio.to_thread(read_epochs, own)) == (Epochs([first]), False)
        assert (await log.epochs()).known == [first]
        second = next_epoch(await log.epochs(), kafka.prefix, 8, kafka.partitions)
        await asyncio.to_thread(tell, own, lambda: first)
        await asyncio.to_thread(tell, own, lambda: second)
        assert (await log.epochs()).known == [first, second]
        assert second.topic in ((await log.checks())["topics"] or "")
        provision.apply(admin, [provision.TopicPlan(second.topic, 8, 1, {"cleanup.policy": "compact"})])
        assert (await log.checks())["topics"] is None
        places = [await log.publish(documents_of(n), b"key%d" % n, b"x", {}, 20) for n in (1, 2, 2)]
        assert places[1].partition == partition_of(b"key2", 8)
        assert (await log.queue_lengths())["chunk"] == 3
        moved = Epoch(number=2, topic=second.topic, partitions=8, active_from=5)
        await asyncio.to_thread(tell, own, lambda: moved)
        assert (await asyncio.to_thread(read_epochs, own)) == (Epochs([first, moved]), True)
        assert (await log.epochs()).newest == moved
    finally:
        await log.close()


def _same_partition(job_id: str, settings: Settings) -> str:
    """Another job of the same time whose question would lie in the same partition."""
    count = settings.kafka.partitions
    wanted = (murmur2(job_id.encode()) & 0x7FFFFFFF) % count
    while True:
        other = job_id[:16] + mint_job_id(0)[16:]
        if (murmur2(other.encode()) & 0x7FFFFFFF) % count == wanted:
            return other


async def test_a_broker_that_is_away() -> None:
    """Publishing and looking up end as Transient, in time; nothing is assigned, and readiness says so."""
    log = KafkaLog(door_settings(BROKERS="127.0.0.1:9"))
    await log.open(lambda _: None, lambda _: False)
    began = time.monotonic()
    with pytest.raises(Transient):
        await log.publish(DOCUMENTS, b"k", b"v", {}, 1)
    assert time.monotonic() - began < 3
    assert log.reply_partitions() == ()
    assert (await log.checks())["broker"]
    with pytest.raises(Transient):
        await log.find_question(mint_job_id(0))
    with pytest.raises(Transient):
        await log.queue_lengths()
    with pytest.raises(Transient):
        await log.epochs()
    await log.close()


async def test_a_job_goes_on_at_another_gateway(topics_made: Settings, say: Say) -> None:
    """Two gateways on one broker: accepted at one, followed and polled at the other, also after the first is gone."""
    first, second = (
        topics_made.model_copy(update={"gateway": topics_made.gateway.model_copy(update={"replica": n, "replicas": 2})})
        for n in (0, 1)
    )
    there = KafkaLog(second)
    async with serving(create_app(second, MemoryManifests(), there)) as other:
        here = KafkaLog(first)
        async with serving(create_app(first, MemoryManifests(), here)) as one:
            await eventually(here.reply_partitions)
            await eventually(there.reply_partitions)
            job_id = (await one.post("/v1/queries", json={"question": "q"})).json()["job_id"]
            assert job_place(job_id)[0] % 2 == 0
            story = whole_story(job_id)
            for each in story[:5]:
                await say(each)
            await _state(one, job_id, "generating")
        last = await _told(other, job_id)
        following = asyncio.create_task(other.get(f"/v1/queries/{job_id}/events", headers={"Last-Event-ID": last}))
        for each in story[5:]:
            await say(each)
        rest = sse_events((await following).text)
        assert [name for name, _ in rest] == ["token", "answer"]
        assert (await other.get(f"/v1/queries/{job_id}")).json()["answer"]["text"] == "All is well."
        assert (await other.get(f"/v1/queries/{mint_job_id(0)}")).status_code == 404


async def _state(client: httpx.AsyncClient, job_id: str, state: str) -> None:
    end = millis() + 10_000
    while (await client.get(f"/v1/queries/{job_id}")).json()["state"] != state:
        assert millis() < end
        await asyncio.sleep(0.05)


async def _told(client: httpx.AsyncClient, job_id: str) -> str:
    """Id of the last event that a client could have been given so far."""
    app_job = await client.get(f"/v1/queries/{job_id}")
    assert app_job.json()["state"] == "generating"
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    found = await transport.app.desk.find(job_id, "default")  # type: ignore[attr-defined]
    return str(found.story[-1][0])
