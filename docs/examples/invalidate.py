"""Keep a cache of your own true: forget what came from a document as soon as the document changes.

Reads `<prefix>.index-events.<generation>`.  Needs `pip install confluent-kafka` and nothing of Freshet.

    python invalidate.py --brokers 127.0.0.1:9092 --topic freshet.index-events.g1
    python invalidate.py ... -X security.protocol=SASL_SSL -X sasl.mechanism=SCRAM-SHA-512 -X sasl.username=me ...
"""

import argparse
import json
from urllib.parse import unquote

from confluent_kafka import Consumer, KafkaException


def main() -> None:
    """Print what to forget; `--to-end` stops where the topic ended when we came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group", default="my-cache")
    parser.add_argument("--to-end", action="store_true")
    parser.add_argument("-X", dest="more", action="append", default=[], metavar="NAME=VALUE", help="of librdkafka")
    options = parser.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.group,
            "auto.offset.reset": "earliest",  # the topic is compacted: from its beginning you get every document once
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **dict(pair.split("=", 1) for pair in options.more),
        }
    )
    consumer.subscribe([options.topic])
    newest: dict[str, str] = {}  # document -> version: an event may come twice, or after a newer one
    ended: set[int] = set()
    try:
        while not (options.to_end and ended and len(ended) == len(consumer.assignment())):
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.name() != "_PARTITION_EOF":
                    raise KafkaException(error)
                ended.add(message.partition())
                continue
            if message.value() is None:
                continue  # Freshet writes none, deletes stay on record: somebody's own, and it says nothing
            document = unquote(message.key().decode())  # tenant/doc_id
            event = json.loads(message.value())
            if event["version"] is not None and event["version"] > newest.get(document, ""):
                newest[document] = event["version"]  # versions are fixed-width text: they order as strings
                visible = [chunk["id"] for chunk in event.get("manifest", [])]
                forget(document, event["state"], event["version"], visible)
            consumer.commit(message)  # after the work: at least once
    finally:
        consumer.close()


def forget(document: str, state: str, version: str, visible: list[str]) -> None:
    """Your code: drop every entry made from this document whose chunks are not all in `visible`."""
    print(json.dumps({"document": document, "state": state, "version": version, "chunks": len(visible)}), flush=True)


if __name__ == "__main__":
    main()
