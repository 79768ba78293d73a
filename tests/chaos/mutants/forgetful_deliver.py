"""A deliver worker that tells nobody of one job in ten: the run that must fail."""

from zlib import crc32

from connectors.job_ports import StoredJob
from runtime.settings import Settings
from streams.outcome import Output
from streams.queries.deliver import Deliver
from streams.worker import run
from topics.queries import AnswerEvent

EVERY = 10  # few enough that a run of a minute has some
_sound = Deliver._tell


async def forgetful(self: Deliver, job: StoredJob, event: AnswerEvent) -> list[Output]:
    return [] if crc32(event.job_id.encode()) % EVERY == 0 else await _sound(self, job, event)


if __name__ == "__main__":
    Deliver._tell = forgetful  # type: ignore[method-assign]
    run("deliver", Settings.from_env())
