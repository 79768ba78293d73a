"""Replay: the log read again from its beginning into the same generation writes nothing and encodes nothing.

Documents are published, edited and deleted; then the document lane's groups are set back to offset 0 and its workers
started again, three times.  Ids, versions and vectors must be what they were, and nothing written or encoded.
"""

import argparse
import asyncio
import hashlib
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.console import Console
from weaviate import connect_to_custom

from bench import corpus, machine, report
from bench.edits import edited
from bench.installation import Installation, installation
from connectors import build
from gateway.lanes import Lanes
from runtime.brokers import librdkafka_options
from topics import registry
from topics.registry import group_of

LANE = {"chunk": registry.DOCUMENTS, "embed": registry.CHUNKS, "index": registry.VECTORS}
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> None:
    """Replay, compare, write; ends with an error when anything changed."""
    parser = argparse.ArgumentParser(prog="python -m bench replay", description=__doc__)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--replays", type=int, default=3)
    options = parser.parse_args(arguments)
    with installation() as freshet:
        rounds = asyncio.run(_run(freshet, options.documents, options.replays))
    result = {"documents": options.documents, "replays": rounds, "machine": machine.features()}
    report.save("replay", result)
    for number, each in enumerate(rounds, 1):
        console.print(f"replay {number}: {each}")
    if not all(each["identical"] and not each["encodes"] and not each["written"] + each["deleted"] for each in rounds):
        raise SystemExit("a replay changed something")


async def _run(freshet: Installation, count: int, replays: int) -> list[dict[str, Any]]:
    draw = random.Random(1)
    texts = {d.id: d.text for d in corpus.documents(limit=count)}
    changed: dict[str, bytes | None] = {i: edited(t, draw).encode() for i, t in list(texts.items())[::3]}
    changed |= dict.fromkeys(list(texts)[1::7])
    for batch in ({i: t.encode() for i, t in texts.items()}, changed):
        await freshet.wait(await asyncio.to_thread(freshet.publish, batch))
    before = await _fingerprint(freshet, list(texts))
    rounds = []
    async with httpx.AsyncClient(timeout=30) as http:
        for _ in range(replays):
            began = time.monotonic()
            await asyncio.to_thread(_rewind, freshet)
            records = await _until_read(freshet)
            after = await _fingerprint(freshet, list(texts))
            spent = await freshet.counts(http)  # the workers are new, so their counters began at 0
            took = round(time.monotonic() - began, 1)
            rounds.append(
                {**spent, "identical": after == before, "compared": len(before), "records": records, "s": took}
            )
    return rounds


async def _fingerprint(freshet: Installation, doc_ids: list[str]) -> dict[str, str]:
    """Everything that is visible or stored: versions and manifests of documents, text and vector of every object."""
    settings = freshet.settings
    found = await freshet.manifests(doc_ids)
    shown = {f"document {i}": f"{m.version} {m.deleted} {list(m.chunks)}" for i, m in zip(doc_ids, found, strict=True)}
    http, grpc = settings.weaviate.url.removeprefix("http://").split(":"), settings.weaviate.grpc.split(":")
    with connect_to_custom(http[0], int(http[1]), False, grpc[0], int(grpc[1]), False, skip_init_checks=True) as client:
        [name] = [n for n in client.collections.list_all() if settings.kafka.prefix.lower() in n.lower()]
        for item in client.collections.use(name).with_tenant("default-0").iterator(include_vector=True):
            stored = repr((item.properties["doc_id"], item.properties["text"], item.vector)).encode()
            shown[f"object {item.uuid}"] = hashlib.blake2b(stored).hexdigest()
    return shown


def _rewind(freshet: Installation) -> None:
    """Stop the document lane, set its groups to the beginning, start it again."""
    settings = freshet.settings
    freshet.stack.stop(*LANE)
    for stage, spec in LANE.items():
        group = group_of(settings.kafka.prefix, stage, settings.documents.generation)
        topic = spec.full_name(settings.kafka.prefix, settings.documents.generation)
        places = [TopicPartition(topic, partition, 0) for partition in range(settings.kafka.partitions)]
        consumer = Consumer({**librdkafka_options(settings.kafka), "group.id": group})
        deadline = time.monotonic() + 60
        while True:  # static members count as there until their session ends
            try:
                consumer.commit(offsets=places, asynchronous=False)
                break
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        consumer.close()
    freshet.stack.start(*LANE)


async def _until_read(freshet: Installation) -> int:
    """Wait until the lane has read all; returns how many records `documents` has by now."""
    settings = freshet.settings
    lanes = Lanes(librdkafka_options(settings.kafka), settings.kafka.prefix, settings.documents.generation)
    log = build.topic_log(settings, registry.DOCUMENTS)
    await log.open()
    try:
        until, still = time.monotonic() + 300, 0
        while still < 10:  # a stage that has read all may still be about to write to the next
            if time.monotonic() > until:
                raise TimeoutError("the replay does not come to its end")
            lengths = await lanes.queue_lengths()
            still = 0 if any(lengths[stage] for stage in LANE) else still + 1
            await asyncio.sleep(0.2)
        starts, ends = await log.starts(), await log.ends()
        return sum(ends[partition] - starts[partition] for partition in ends)
    finally:
        await log.close()
        lanes.close()
