"""The same records into a real stack: through the log and through the door, judged by what became of each.

Every record that a producer wrote must end as exactly one of two things: a dead letter that names its place, or a
version that reached its outcome.  Which of the two is foretold by the readers themselves, but for formats that are read
in processes of their own.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

import httpx
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from connectors import build
from deploy.local.own_stack import OwnStack, own_stack
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from streams.deadletters.shelf import letter_of, records_of
from streams.documents.intake import read_document
from streams.documents.refused import Refused
from streams.outcome import Record
from tests.fuzz import records as strange
from topics.identity import IdentityError, parse_document_key, partition_of
from topics.registry import DOCUMENTS
from topics.spec import dead_letters_of

console = Console(highlight=False, markup=False)
WORKERS = ("chunk", "embed", "index", "retrieve", "generate", "deliver", "gateway")
OUTCOME_SECONDS = 240.0
GOOD_EVERY = 20
MOST_BYTES = 8 * 1024 * 1024  # what the topic takes
Watermarks: TypeAlias = Callable[[], Awaitable[dict[tuple[int, int], int]]]
_REQUESTS = st.tuples(
    st.sampled_from(["PUT", "POST", "GET", "DELETE", "PATCH"]),
    st.sampled_from(
        ["/v1/documents/a", "/v1/documents", "/v1/documents:bulk", "/v1/retrieve", "/v1/queries", "/v1/queries/x"]
    ),
    strange.values,
    st.sampled_from(["application/json", "application/x-ndjson", "text/plain", "text/html", "application/pdf", "x"]),
)


@dataclass
class Sent:
    """What was written to `documents`, by the place where the broker put it."""

    records: dict[tuple[int, int], Record] = field(default_factory=dict)
    good: list[str] = field(default_factory=list)
    without_key: int = 0
    too_large: int = 0


def run(seconds: float, seed: int) -> list[str]:
    """Write for so long, then wait for every outcome; returns what is wrong."""
    prefix = f"z{seed:x}-{int(time.time()):x}"
    with own_stack("fuzz", "19100", {"FRESHET_PREFIX": prefix}) as stack:
        configured = Settings.from_env(stack.environment)
        before = {name: stack.pid(name) for name in WORKERS}
        sent, statuses = _write(stack, configured, seconds, seed)
        wrong = asyncio.run(_judge(stack, configured, sent))
        restarted = [name for name in WORKERS if stack.pid(name) != before[name]]
    console.print(
        f"{len(sent.records)} records, {len(sent.good)} of them good; {sent.without_key} without a key left out"
    )
    console.print(f"requests by status: {dict(sorted(statuses.items()))}")
    wrong += [f"{name} was started again" for name in restarted]
    return wrong + [f"{count} requests got {status}" for status, count in statuses.items() if status >= 500]


def _write(stack: OwnStack, configured: Settings, seconds: float, seed: int) -> tuple[Sent, Counter[int]]:
    sent, statuses, until = Sent(), Counter[int](), time.monotonic() + seconds
    kafka = configured.kafka
    producer = Producer({**librdkafka_options(kafka), "linger.ms": 20, "log_level": 2, "message.max.bytes": MOST_BYTES})
    topic = DOCUMENTS.full_name(kafka.prefix, configured.documents.generation)

    def put(record: Record) -> None:
        if record.key is None:  # which a broker refuses for a compacted topic, with all that is in the same batch
            sent.without_key += 1
            return

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            sent.records[message.partition() or 0, message.offset() or 0] = record

        headers: list[tuple[str, str | bytes | None]] = list(record.headers.items())
        try:
            producer.produce(topic, record.value, record.key, record.partition, headers=headers, on_delivery=delivered)
        except KafkaException as error:  # our own client refuses what no topic takes
            assert error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, error
            sent.too_large += 1
        producer.poll(0)

    with httpx.Client(base_url=stack.door, timeout=30) as http, Progress() as progress:
        task = progress.add_task("strange records into a real stack", total=seconds)

        @seeded(seed)
        @settings(
            max_examples=1_000_000, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(record=strange.records(), request=_REQUESTS)
        def step(record: Record, request: tuple[str, str, bytes | None, str]) -> None:
            if time.monotonic() > until:
                raise KeyboardInterrupt
            put(record)
            if len(sent.records) % GOOD_EVERY == 0:
                name = f"good/{len(sent.good)}"
                key = name.encode()
                put(Record(topic, partition_of(key, kafka.partitions), 0, key, _good(name), {}, 0))
                sent.good.append(name)
            method, path, body, media_type = request
            statuses[http.request(method, path, content=body, headers={"content-type": media_type}).status_code] += 1
            progress.update(task, completed=seconds - max(0.0, until - time.monotonic()))

        try:
            step()
        except KeyboardInterrupt:
            if time.monotonic() < until:
                raise
    assert producer.flush(30) == 0
    return sent, statuses


def _good(name: str) -> bytes:
    return f'{{"text": "The document {name} is as it should be."}}'.encode()


async def _judge(stack: OwnStack, configured: Settings, sent: Sent) -> list[str]:
    manifests = build.manifest_store(configured)
    await manifests.open()
    try:
        marks = await _passed(manifests.watermarks, sent)
    finally:
        await manifests.close()
    spec = dead_letters_of(DOCUMENTS)
    log = build.topic_log(configured, spec)
    await log.open()
    letters: Counter[tuple[int, int]] = Counter()
    mute = 0
    try:
        async for record in records_of(log):
            letter = letter_of(record, DOCUMENTS, configured.tenants)
            partition, offset = letter.origin.rsplit("/", 2)[1:]
            letters[int(partition), int(offset)] += 1
            mute += not letter.message
    finally:
        await log.close()
    refused = {place for place, record in sent.records.items() if _refused(record, place, configured)}
    foretold = {place for place, record in sent.records.items() if not _read_elsewhere(record)}
    known = {place: letters[place] for place in sent.records}
    wrong = [
        f"{len(found)} {what}, the first at {found[0]}: {sent.records[found[0]]}"
        for what, found in (
            ("have no outcome", sorted(p for p in sent.records if marks.get(p[0], -1) < p[1])),
            ("were dead-lettered twice", sorted(p for p, n in known.items() if n > 1)),
            ("should have been dead-lettered", sorted(p for p in refused & foretold if not known[p])),
            ("should not have been dead-lettered", sorted(p for p in foretold - refused if known[p])),
        )
        if found
    ]
    wrong += [f"{mute} dead letters without a reason"] * bool(mute)
    async with httpx.AsyncClient(base_url=stack.door, timeout=30) as http:
        for name in sent.good:
            shown = (await http.get(f"/v1/documents/{quote(name, safe='')}")).json()
            if shown.get("status") != "indexed":
                wrong.append(f"{name} is lost: {shown}")
    console.print(f"{sum(known.values())} dead letters")
    return wrong


async def _passed(watermarks: Watermarks, sent: Sent) -> dict[int, int]:
    """Watermarks by partition, when all records have passed or time is up."""
    last: dict[int, int] = {}
    for partition, offset in sent.records:
        last[partition] = max(offset, last.get(partition, -1))
    until = time.monotonic() + OUTCOME_SECONDS
    while True:
        marks = {partition: offset for (_, partition), offset in (await watermarks()).items()}
        if all(marks.get(p, -1) >= offset for p, offset in last.items()) or time.monotonic() > until:
            return marks
        await asyncio.sleep(0.5)


def _refused(record: Record, place: tuple[int, int], configured: Settings) -> bool:
    try:
        parse_document_key(record.key, configured.tenants)
        if partition_of(record.key or b"", configured.kafka.partitions) != place[0]:
            return True
        if record.value is not None:
            read_document(
                record.value, dict(record.headers), 0, max_metadata_keys=configured.documents.max_metadata_keys
            )
    except (IdentityError, Refused):
        return True
    return False


def _read_elsewhere(record: Record) -> bool:
    return not record.headers.get("content-type", b"application/json").startswith((b"text/", b"application/json"))
