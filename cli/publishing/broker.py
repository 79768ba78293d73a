"""The topic of documents as the broker has it, and the one producer that writes to it."""

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from cli.control import WriteEpoch
from cli.environment import reason_of
from cli.publishing.journal import Journal
from cli.publishing.plan import Changed, Gone
from cli.publishing.read import too_large
from cli.publishing.summary import Summary
from cli.publishing.walk import Left
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics.headers import CONTENT_TYPE
from topics.identity import DocumentRef, Token, document_key

ANSWER_SECONDS = 10.0
SILENCE = 3.0  # seconds without an answer before that is said
LAST_SECONDS = 5.0  # for what is on its way when the run is told to stop
AROUND = 4096  # bytes of a record besides its value, at most: key, headers, the frame of a batch
QUEUED_KBYTES = 64 * 1024
_AWAY = frozenset(
    (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
)


def topic_id(settings: Settings, topic: str) -> str:
    """The broker's own id of a topic; a message that helps when broker or topic is not there."""
    admin = _admin(settings)  # kept until it has answered: a client that is let go ends its requests
    try:
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
        described = asked[topic].result(ANSWER_SECONDS + 1)
    except KafkaException as error:
        said = reason_of(settings, error)
        raise ValueError(f"topic {topic}: {said} (is the stack up? `make up`)") from None
    return str(described.topic_id)


def content_limit(settings: Settings, topic: str) -> int:
    """Most bytes of a document: by our own setting and by what the topic takes, as far as we may look."""
    ours = settings.documents.max_document_bytes
    resource, admin = ConfigResource(ResourceType.TOPIC, topic), _admin(settings)
    try:
        asked = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)
        theirs = int(asked[resource].result(ANSWER_SECONDS + 1)["max.message.bytes"].value)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return ours
        raise
    return max(0, min(ours, theirs - AROUND))


class Sender:
    """Sends versions and deletes, and notes in journal and summary what the broker says of them."""

    def __init__(
        self, settings: Settings, tenant: str, journal: Journal, summary: Summary, stop: threading.Event
    ) -> None:
        self._settings, self._tenant, self._journal, self._summary = settings, tenant, journal, summary
        self._stop = stop
        self._writing = WriteEpoch(settings)
        self._limits: dict[str, int] = {}
        self.away: str | None = None  # why the broker confirms nothing
        self.settled: Callable[[], Any] = lambda: None  # called for each record that has its answer
        self.silent: Callable[[], Any] = lambda: None  # called when the broker has not answered for a while
        self._heard = 0.0
        self._producer = Producer(
            {
                **librdkafka_options(settings.kafka),
                "client.id": f"{settings.kafka.prefix}.publish",
                "partitioner": "murmur2_random",  # librdkafka's own would put most keys elsewhere
                "enable.idempotence": True,
                "message.max.bytes": settings.documents.max_document_bytes + 65536,
                "queue.buffering.max.kbytes": max(QUEUED_KBYTES, settings.documents.max_document_bytes // 512),
                "message.timeout.ms": int(settings.kafka.request_timeout * 1000),
                "linger.ms": 5,
            }
        )

    def limit(self) -> int:
        """Most bytes of a document in the topic that takes writes now."""
        topic = self._writing.current().topic
        if topic not in self._limits:
            self._limits[topic] = content_limit(self._settings, topic)
        return self._limits[topic]

    def send(self, changed: Changed) -> None:
        """A new version of a document; returns before the broker has answered."""
        found = changed.found
        headers = [(CONTENT_TYPE, found.media_type.encode())]
        self._produce(found.doc_id, found.base, changed.body, changed.digest, headers)

    def delete(self, gone: Gone) -> None:
        """A delete; returns before the broker has answered."""
        self._produce(gone.doc_id, gone.base, None, None, [])

    def finish(self) -> None:
        """Until the broker has answered for everything, or does not."""
        self._heard = time.monotonic()
        until, told = self._heard + self._settings.kafka.request_timeout + 1, False
        while len(self._producer) and time.monotonic() < until:
            self._serve()
            if self._stop.is_set() and not told:
                told, until = True, min(until, time.monotonic() + LAST_SECONDS)
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(1)

    def close(self) -> None:
        """Let go of the broker; what it has not confirmed is failed."""
        self._producer.purge()
        self._producer.flush(1)
        self._writing.close()

    def _produce(
        self, doc_id: str, base: str, body: bytes | None, digest: str | None, headers: list[tuple[str, bytes]]
    ) -> None:
        key = document_key(DocumentRef(self._tenant, doc_id))
        self._journal.begin(doc_id, base)
        self._heard = time.monotonic()
        while True:
            epoch = self._writing.current()
            report = partial(self._report, doc_id, base, digest, epoch.number)
            try:
                self._producer.produce(epoch.topic, body, key, headers=[*headers], on_delivery=report)
                break
            except BufferError:  # the queue is full: wait for the broker
                self._serve()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                self._report(doc_id, base, digest, epoch.number, error.args[0], None)
                break
        self._producer.poll(0)

    def _serve(self) -> None:
        """Take what the broker answers, for a moment."""
        before = len(self._producer)
        self._producer.poll(0.1)
        if len(self._producer) < before:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > SILENCE:
            self.silent()
            self._heard = math.inf  # once

    def _report(
        self, doc_id: str, base: str, digest: str | None, epoch: int, error: KafkaError | None, message: Any
    ) -> None:
        self.settled()
        if error is not None:
            reason = f"not confirmed by the broker: {error.str()}"
            if error.code() in _AWAY:
                self.away = error.str()
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                reason = too_large(self.limit())
            self._summary.leave(Left(doc_id, reason, failed=True))
            return
        token = Token(epoch, message.partition(), message.offset())
        if digest is None:
            self._journal.forget(doc_id)
        else:
            self._journal.confirm(doc_id, digest, base, str(token))
        self._summary.sent(doc_id, token, deleted=digest is None)


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({**librdkafka_options(settings.kafka), "log_level": 5})  # what it drops at its end is no news
