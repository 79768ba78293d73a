"""What endpoints are to be told of a job that ended: records for ``webhooks``.

Takes a job with its final event's data.  Gives a record for one that asked for it, none for others.  The id of the
notification comes from the job alone, so a job whose end is told twice is delivered once.
"""

from collections.abc import Sequence

from connectors.job_ports import StoredJob
from streams.outcome import Output
from topics import registry
from topics.codec import encode, schema_header
from topics.headers import JOB, TENANT
from topics.identity import partition_of
from topics.webhooks import Notification


class JobWebhooks:
    """``partitions`` of the topic; an answer over ``max_bytes`` is left out, and the link says where it is."""

    def __init__(self, partitions: int, max_bytes: int) -> None:
        self._partitions, self._max_bytes = partitions, max_bytes

    async def __call__(self, job: StoredJob) -> Sequence[Output]:
        if job.webhook is None or job.final is None:
            return []
        job_id, kind = job.ref.job_id, "answer" if job.final.type == "answer" else "error"
        data = {"job_id": job_id, kind: job.data, "links": {"self": f"/v1/queries/{job_id}"}}
        notification = Notification(
            id=job_id,
            tenant=job.ref.tenant,
            endpoint=job.webhook,
            type="answer" if kind == "answer" else "error",
            at=job.final.at,
            data=data,
        )
        if len(encode(notification)) > self._max_bytes:
            notification.data = {**data, kind: None, "left_out": f"more than {self._max_bytes} bytes"}
        return [notification_output(notification, self._partitions)]


def notification_output(notification: Notification, partitions: int) -> Output:
    """A notification as a record of ``webhooks``."""
    key = notification.id.encode()
    headers = {**schema_header(notification), TENANT: notification.tenant.encode()}
    if job_id := notification.data.get("job_id"):
        headers[JOB] = str(job_id).encode()
    return Output(registry.WEBHOOKS, key, encode(notification), partition_of(key, partitions), headers)
