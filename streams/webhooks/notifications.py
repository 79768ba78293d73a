"""What endpoints are to be told of a job: records for ``webhooks``.

Takes a job's final event and the hop it came by.  Gives a record for jobs that asked for it, none for others.  The
notification's id comes from the job alone, so a job that ends twice is told of once.
"""

from collections.abc import Sequence

from streams.outcome import Output
from topics import registry
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.identity import partition_of
from topics.queries import FINAL, AnswerEvent
from topics.webhooks import Notification


class JobWebhooks:
    """``partitions`` of the topic; an answer over ``max_bytes`` is left out, and the link says where it is."""

    def __init__(self, partitions: int, max_bytes: int) -> None:
        self._partitions, self._max_bytes = partitions, max_bytes

    def of(self, hop: Hop, event: AnswerEvent) -> Sequence[Output]:
        """What is to be written when a job ended so."""
        if hop.webhook is None or event.type not in FINAL or "retrieval" in event.data:
            return []
        return [self.output(self._notification(hop.webhook, event))]

    def output(self, notification: Notification) -> Output:
        """A notification as a record; those of one happening lie in order in one partition."""
        key = notification.id.encode()
        partition = partition_of(key, self._partitions)
        return Output(registry.WEBHOOKS, key, encode(notification), partition, schema_header(notification))

    def _notification(self, endpoint: str, event: AnswerEvent) -> Notification:
        data = {"job_id": event.job_id, event.type: event.data, "links": {"self": f"/v1/queries/{event.job_id}"}}
        notification = Notification(
            id=event.job_id,
            tenant=event.tenant,
            endpoint=endpoint,
            type="answer" if event.type == "answer" else "error",
            at=event.at,
            data=data,
        )
        if len(encode(notification)) > self._max_bytes:
            notification.data = {**data, event.type: None, "left_out": f"more than {self._max_bytes} bytes"}
        return notification
