"""How far a consumer group has committed, asked without joining it."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.errors import Transient
from runtime.settings import Kafka


async def committed(kafka: Kafka, group: str, topic: str, partitions: int) -> dict[int, int]:
    """First offset that is not committed, by partition; without the partitions of which nothing is."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.brokers,
        group_id=group,
        enable_auto_commit=False,
        request_timeout_ms=int(kafka.request_timeout * 1000),
    )
    try:
        async with asyncio.timeout(kafka.request_timeout):
            await consumer.start()
            await consumer.topics()
            places = [TopicPartition(topic, number) for number in range(partitions)]
            consumer.assign(places)
            found = {place.partition: await consumer.committed(place) for place in places}
    except (KafkaError, TimeoutError, OSError) as error:
        raise Transient(f"offsets of {group}: {error!r}", reason="broker") from error
    finally:
        await consumer.stop()
    return {partition: offset for partition, offset in found.items() if offset is not None}
