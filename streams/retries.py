"""What becomes of records whose failure is unclear: how often they are tried, when again, when they are given up.

The delay is constant, so a retry topic lies in order of time and its head never hides one that is due sooner.  An
outage must not be able to give a record up: a failed try counts only if since the one before another record did all of
the stage's work in this process (docs/adr/0007).
"""

from dataclasses import dataclass

from connectors.errors import Unclear
from runtime.clock import Clock, millis
from runtime.logs import logger
from runtime.settings import Kafka
from streams.outcome import Defer, Record, Refuse
from topics.retry import Retry
from topics.spec import TopicSpec

TRIES = 4  # in place, before a record leaves the lane
ALIKE = 3  # different records that fail with none passing in between: it is hardly the records
_LOOK = 1.0  # seconds: waits are cut into pieces, so that a wall clock set forward is noticed

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a lane does not move; ``since`` is ms since 1970."""

    since: int
    reason: str


class Retries:
    """One per process, shared by the lane and by what comes to be retried.  ``topic`` is the lane's retry topic."""

    def __init__(self, lane: str, topic: TopicSpec, kafka: Kafka, clock: Clock) -> None:
        self.topic = topic
        self._lane, self._clock = lane, clock
        self._delay, self._attempts = int(kafka.retry_delay * 1000), kafka.retry_attempts
        self._passed = 0  # when a record last did all of the stage's work; a new process knows of none
        self._failing: set[tuple[str, int, int]] = set()
        self.stuck: Pause | None = None

    def tries(self, record: Record) -> int:
        """How often to try in place: not at all where that was done before, or would hardly help."""
        return 1 if record.retry or self.stuck else TRIES

    def passed(self) -> None:
        """A record did all of the stage's work."""
        self._passed = millis(self._clock.now())
        self._failing.clear()
        if self.stuck:
            self.stuck = None
            log.info("records pass again", lane=self._lane)

    def ended(self, record: Record) -> None:
        """A record is no longer tried."""
        self._failing.discard(record.place)
        if len(self._failing) < ALIKE:
            self.stuck = None

    def failed(self, record: Record, error: Unclear) -> Defer | Refuse:
        """What becomes of a record that failed alone."""
        now, before = millis(self._clock.now()), record.retry
        self._failing.add(record.place)
        if len(self._failing) >= ALIKE and not self.stuck:
            self.stuck = Pause(now, f"{len(self._failing)} records in a row fail, none passes: {error}")
            log.warning("nothing passes", lane=self._lane, reason=error.reason, error=str(error)[:500])
        attempts = 0
        if before:
            counts = error.counts if error.counts is not None else self._passed > before.last_failed
            attempts = before.attempts + counts
            if attempts >= self._attempts:
                return Refuse(f"tried {attempts} times, last: {error}", error.reason, "dead-lettered")
        topic, partition, offset = record.place
        retry = Retry(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp=record.timestamp,
            attempts=attempts,
            not_before=now + self._delay,
            first_failed=before.first_failed if before else now,
            last_failed=now,
            reason=str(error),
        )
        return Defer(retry, error.reason)

    async def wait(self, record: Record) -> None:
        """Until its time has come; never longer than the delay, whatever the clock of its writer said."""
        if record.retry is None:
            return
        latest = millis(self._clock.now()) + self._delay
        until = min(record.retry.not_before, latest)
        while (left := (until - millis(self._clock.now())) / 1000) > 0:
            await self._clock.sleep(min(left, _LOOK))
