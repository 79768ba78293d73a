"""Publish a file, or delete a document, with aiokafka.  Needs `pip install aiokafka`.

python publish_aiokafka.py BROKERS TOPIC KEY guide.md text/markdown
python publish_aiokafka.py BROKERS TOPIC KEY
"""

import asyncio
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer


async def publish(brokers: str, topic: str, key: str, value: bytes | None, media_type: str) -> None:
    """A null value deletes.  The partitioner is the right one by default."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True, max_request_size=9_000_000)
    await producer.start()
    try:
        headers = [] if value is None else [("content-type", media_type.encode())]
        place = await producer.send_and_wait(topic, value, key.encode(), headers=headers)
        print(f"partition {place.partition} offset {place.offset}")
    finally:
        await producer.stop()


def main(brokers: str, topic: str, key: str, file: str | None = None, media_type: str = "text/plain") -> None:
    """Without a file the document is deleted."""
    value = None if file is None else Path(file).read_bytes()
    asyncio.run(publish(brokers, topic, key, value, media_type))


if __name__ == "__main__":
    main(*sys.argv[1:])
