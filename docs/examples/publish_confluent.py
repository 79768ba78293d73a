"""Publish a file, or delete a document, with confluent-kafka.  Needs `pip install confluent-kafka`.

python publish_confluent.py BROKERS TOPIC KEY guide.md text/markdown
python publish_confluent.py BROKERS TOPIC KEY
"""

import sys
from pathlib import Path

from confluent_kafka import KafkaException, Producer


def main(brokers: str, topic: str, key: str, file: str | None = None, media_type: str = "text/plain") -> None:
    """Without a file the document is deleted: its value is null."""
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "partitioner": "murmur2_random",  # librdkafka's own puts most keys elsewhere
            "enable.idempotence": True,  # a retry neither repeats nor reorders
        }
    )

    def confirmed(error: object, message: object) -> None:
        if error is not None:
            raise KafkaException(error)
        print(f"partition {message.partition()} offset {message.offset()}")  # type: ignore[attr-defined]

    if file is None:
        producer.produce(topic, value=None, key=key.encode(), on_delivery=confirmed)
    else:
        headers = [("content-type", media_type.encode())]
        producer.produce(topic, Path(file).read_bytes(), key.encode(), headers=headers, on_delivery=confirmed)
    producer.flush()  # a program that ends without it loses what is still queued


if __name__ == "__main__":
    main(*sys.argv[1:])
