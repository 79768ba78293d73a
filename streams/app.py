"""The Faust application of one stage: settings that lose nothing, and Kafka consumers that commit what was acked.

Every deviation from Faust's defaults has its reason beside it; docs/adr/0003 has the measurements.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from runtime.brokers import tls_context
from runtime.settings import Kafka
from topics.headers import read_headers

Run: TypeAlias = Callable[[Any], Awaitable[None]]
Skips: TypeAlias = Callable[[Mapping[str, bytes]], bool]
TESTED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}


GATHERED_BYTES = 1024 * 1024  # that the broker need not wait for more


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only, and of a stage that takes few of many does its part before they cost anything."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust offers it only together with exactly_once
        if gather := transport.gather:
            consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = GATHERED_BYTES, int(gather * 1000)
        return consumer

    async def _fetch_records(self, consumer: Any, *arguments: Any, **options: Any) -> Any:
        found = await super()._fetch_records(consumer, *arguments, **options)
        transport: Any = self.transport
        skips: Skips | None = transport.skips
        return found if skips is None else {tp: wanted(records, skips) for tp, records in found.items()}


class Consumer(driver.Consumer):
    """Commits one past the last acknowledged offset, which is right because the runner acknowledges in order.

    Faust's own bookkeeping looks for gaps: on a compacted log whose first offset survives it stalls until restart,
    and a large hole is expanded into a list of all its offsets (20 million cost 5 s and 1.3 GB).
    """

    def _new_consumer_thread(self) -> Any:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes need no bookkeeping."""

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        last: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1


class Transport(driver.Transport):
    """aiokafka with the consumer above."""

    gather = 0.0  # seconds for which the broker gathers records before it gives any
    skips: Skips | None = None
    Consumer = Consumer


class Tables(TableManager):
    """No tables: starts at once, where Faust waits a second for some to be declared."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):
    """No tables: nothing is kept on disk, and the working directory may be read-only."""

    def _create_directories(self) -> None:
        """Nor are folders made for them."""


def wanted(records: Sequence[Any], skips: Skips) -> list[Any]:
    """Without those whose headers say that they are skipped; the last one stays, so that commits move past them."""
    return [*(each for each in records[:-1] if not skips(read_headers(each.headers))), *records[-1:]]


def leave_group(app: Any) -> None:
    """Let the coming stop end the membership: a static member whose topics change would come back to its old ones."""
    app.consumer._thread._consumer._coordinator._group_instance_id = None


def create_app(
    group: str, slot: str, kafka: Kafka, max_message_bytes: int, gather: float = 0.0, skips: Skips | None = None
) -> faust.App:
    """An application that runs one stage as a member of ``group``; ``slot`` is its stable name there."""
    check_versions()
    app = App(
        group,
        broker=[f"aiokafka://{address.strip()}" for address in kafka.brokers.split(",")],
        broker_credentials=credentials(kafka),
        loop=asyncio.get_running_loop(),
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
        web_enabled=False,  # on by default, on all interfaces
        topic_disable_leader=True,  # no internal topics: we own no tables
        topic_allow_declare=False,  # `freshet topics apply` does, or an administrator
        table_standby_replicas=0,
        TableManager=Tables,
        stream_wait_empty=False,  # safe because nothing is acked before it is done; and stops are quick
        stream_buffer_maxsize=512,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{group}.{slot}",  # a restarted worker takes its place without a rebalance
        consumer_max_fetch_size=max_message_bytes + 1024 * 1024,
        broker_session_timeout=kafka.session_timeout,
        broker_heartbeat_interval=kafka.session_timeout / 5,
        broker_request_timeout=max(kafka.request_timeout, kafka.session_timeout + 1),
        broker_commit_interval=kafka.commit_interval,
        broker_max_poll_interval=86400.0,  # a stage that waits out an outage stays a member
        producer_acks=-1,
        producer_linger=0,
        producer_request_timeout=kafka.request_timeout,  # 20 minutes by default
        producer_max_request_size=max_message_bytes + 1024 * 1024,
    )
    app.transport = transport = Transport(app.conf.broker_consumer, app, loop=app.loop)
    transport.gather, transport.skips = gather, skips
    app.producer_transport = app.transport
    return app


def credentials(kafka: Kafka) -> SASLCredentials | SSLCredentials | None:
    """Faust's options of :mod:`runtime.brokers`."""
    context = tls_context(kafka)
    if kafka.sasl_password is not None:
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


def attach(app: faust.App, name: str, topics: Sequence[str], run: Run, *, waits: bool = False) -> None:
    """Let ``run`` take the stream of one or more topics.

    All topics of an application share one reader, which a full queue holds up; ``waits`` says that this one is taken
    slowly, so it gets a queue without a bound, and is read again only when that is empty.
    """
    channel = app.topic(*topics, value_serializer="raw")
    if waits:
        channel.maxsize = 0  # `app.topic` takes one and forgets it

    @app.agent(channel, concurrency=1, name=name)
    async def agent(stream: Any) -> None:
        await run(stream)


def check_versions() -> None:
    """Refuse to run on versions whose behaviour is not pinned by our tests, or without the Cython stream."""
    for package, tested in TESTED.items():
        if (found := version(package)) != tested:
            raise RuntimeError(f"{package} {found} is installed, {tested} is tested: run `make setup`")
    if faust.streams._CStreamIterator is None:  # type: ignore[attr-defined]
        raise RuntimeError("Faust runs without its Cython extension, which acks events of lost partitions: reinstall")
