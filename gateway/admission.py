"""Who comes in: permits, and what their number, the queue and the measured pace say to one more question.

A question of this gateway waits (for retrieval, then for generation) or is worked on; the events of its job tell
which.  While some wait, the workers are as busy as they can be: what is finished in such time, by such time, is the
pace at which questions drain, so those under way divided by it is what a new one has to expect, whatever the lanes
behind look like and however many gateways share them.  Nobody is asked, so a decision takes microseconds; where nobody
has waited for a while nothing is estimated and nobody is refused for it.
"""

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

from gateway.problems import Problem
from runtime import metrics
from runtime.settings import Gateway
from topics.headers import Priority
from topics.queries import FINAL, EventType, Mode

TRANSIT: Final = 0.1  # seconds that a question may be on its way to a worker: longer is a queue
REMEMBERED: Final = 128  # answers that the pace is measured over: few enough to follow a change within seconds
FEWEST: Final = 8  # answers before a pace is believed
STALL: Final = 0.25  # seconds without an answer that are no outage, or as long as two answers take
HELD: Final = 10.0  # seconds for which a pace holds when nobody waits any more: all may be worked on, and slowly
MARGIN: Final = 2.0  # times what is to be expected must fit into a question's time: the pace may halve meanwhile
SOONEST, LATEST = 1.0, 60.0  # seconds that a client is asked to wait before it comes again
UNKNOWN_PACE: Final = 2.0  # seconds, where nothing is measured yet
_WAITS: Final = frozenset({"passages"})  # events behind which a job waits for the next stage
_WORKED_ON: Final = frozenset({"retrieving", "generating"})


class Kind(NamedTuple):
    """Questions whose pace says something of each other: one that must be ``fresh`` waits for the index besides."""

    priority: Priority
    mode: Mode
    fresh: bool = False


@dataclass(slots=True, eq=False)
class Permit:
    """Held from acceptance to the final event or the deadline, whoever listens."""

    tenant: str
    kind: Kind


@dataclass
class Pace:
    """Questions of one kind that are under way, and how fast they go while some of them wait."""

    open: set[Permit] = field(default_factory=set)
    _waiting: dict[Permit, float] = field(default_factory=dict)  # since when, longest first
    _taken: dict[Permit, float] = field(default_factory=dict)  # since when a worker has it
    _took: deque[float] = field(default_factory=lambda: deque(maxlen=FEWEST))  # from there to the answer
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # on the clock of queueing time
    _clock: float = 0.0
    _read: float = 0.0
    _queued: float = -math.inf  # when somebody was last seen to wait

    def begin(self, permit: Permit, now: float) -> None:
        """One more waits."""
        self._advance(now)
        self.open.add(permit)
        self._waiting[permit] = now

    def turn(self, permit: Permit, now: float, *, waits: bool) -> None:
        """A worker has taken it, or it waits for the next stage."""
        self._advance(now)
        if permit not in self.open:
            return
        if waits:
            self._taken.pop(permit, None)
            self._waiting.setdefault(permit, now)
        else:
            self._waiting.pop(permit, None)
            self._taken.setdefault(permit, now)

    def end(self, permit: Permit, now: float, *, answered: bool) -> None:
        """It is over; one that was given up says nothing of the pace."""
        queued = self._advance(now)
        self.open.discard(permit)
        self._waiting.pop(permit, None)
        taken = self._taken.pop(permit, None)
        if answered and taken is not None:
            self._took.append(now - taken)
        if answered and queued:
            self._forget_stall()
            self._ends.append(self._clock)

    def _forget_stall(self) -> None:
        """With a queue and a worker something is answered at least as often as one answer takes; else there was none.

        Counted as pace it would shut the door on the first question that waits a little, long after a worker is back.
        """
        if self._ends and self._took:
            longest = max(STALL, 2 * median(self._took))
            self._clock = min(self._clock, self._ends[-1] + longest)

    def oldest(self, now: float) -> float:
        """Seconds that the oldest has waited for a worker."""
        return now - next(iter(self._waiting.values()), now)

    def per_second(self, now: float) -> float | None:
        """Answers a second while questions wait; None while too little is known."""
        self._advance(now)
        if len(self._ends) < FEWEST:
            return None
        return (len(self._ends) - 1) / max(self._clock - self._ends[0], 1e-3)

    def drains_in(self, now: float) -> float | None:
        """Seconds until all that are under way are answered; None where nobody queued of late, or nothing is known."""
        rate = self.per_second(now)
        return None if rate is None or now - self._queued > HELD else len(self.open) / rate

    def _advance(self, now: float) -> bool:
        """Let the clock run for as long as there was a queue; tells whether there is one."""
        since = next(iter(self._waiting.values()), now) + TRANSIT
        self._clock += max(0.0, now - max(since, self._read))
        self._read = now
        if since < now:
            self._queued = now
        return since < now


class Admission:
    """Of a gateway.  Where there are several tenants none of them may have more than its share."""

    def __init__(self, limits: Gateway, several: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._most: dict[Priority, int] = {"interactive": limits.max_in_flight, "batch": limits.max_batch}
        self._share = limits.tenant_share if several else 1.0
        self._max_queued, self._now = limits.max_queued, now
        self._paces: dict[Kind, Pace] = {}
        self._held: dict[Priority, Counter[str]] = {"interactive": Counter(), "batch": Counter()}
        for priority in self._most:
            metrics.longest_queued.labels(priority).set_function(lambda p=priority: self.oldest(p))  # type: ignore[misc]
            metrics.drain_rate.labels(priority).set_function(lambda p=priority: self._rate(p))  # type: ignore[misc]

    def open(self, priority: Priority) -> int:
        """Permits that are held."""
        return self._held[priority].total()

    def oldest(self, priority: Priority) -> float:
        """Seconds that the oldest question has waited for a worker."""
        now = self._now()
        return max((pace.oldest(now) for kind, pace in self._paces.items() if kind.priority == priority), default=0.0)

    def admit(self, tenant: str, kind: Kind, seconds: float) -> Permit:
        """A permit for a question that wants its answer within these seconds; or 429 says when to come again."""
        self.check(tenant, kind, seconds)
        permit = Permit(tenant, kind)
        self._held[kind.priority][tenant] += 1
        self._pace(kind).begin(permit, self._now())
        metrics.admitted.labels(kind.priority).inc()
        return permit

    def check(self, tenant: str, kind: Kind, seconds: float) -> None:
        """429 where it would get none now."""
        pace, now, priority = self._pace(kind), self._now(), kind.priority
        drains, most, held = pace.drains_in(now), self._most[priority], self._held[priority]
        if held.total() >= most:
            raise self._refused("in-flight", f"{most} {priority} questions are under way", drains)
        if held[tenant] >= max(1, int(most * self._share)):
            raise self._refused("tenant", f"{held[tenant]} questions of this tenant are under way", drains)
        if priority == "interactive" and pace.oldest(now) > self._max_queued:
            raise self._refused("queued", f"questions have waited for {pace.oldest(now):.0f} s", drains)
        if drains is not None and drains * MARGIN > seconds:
            told = f"an answer would take {drains:.1f} s, and {seconds:g} s were asked for"
            raise self._refused("late", told, drains * MARGIN - seconds)

    def tell(self, permit: Permit, event: EventType) -> None:
        """What the log says of its job."""
        pace = self._paces[permit.kind]
        if event in FINAL:
            self.end(permit, answered=event == "answer")  # failures may be quick, and are no pace
        elif event in _WORKED_ON or event in _WAITS:
            pace.turn(permit, self._now(), waits=event in _WAITS)

    def end(self, permit: Permit, *, answered: bool = False) -> None:
        """Give it back; doing so twice changes nothing."""
        pace, held = self._paces[permit.kind], self._held[permit.kind.priority]
        if permit not in pace.open:
            return
        pace.end(permit, self._now(), answered=answered)
        held[permit.tenant] -= 1
        if not held[permit.tenant]:
            del held[permit.tenant]

    def _pace(self, kind: Kind) -> Pace:
        found = self._paces.get(kind)
        if found is None:
            found = self._paces[kind] = Pace()
        return found

    def _rate(self, priority: Priority) -> float:
        now = self._now()
        return sum(pace.per_second(now) or 0.0 for kind, pace in self._paces.items() if kind.priority == priority)

    @staticmethod
    def _refused(cause: str, detail: str, seconds: float | None) -> Problem:
        """Those who were refused together should not come back together."""
        metrics.refused.labels(cause).inc()
        after = UNKNOWN_PACE if seconds is None else min(max(seconds, SOONEST), LATEST)
        return Problem("busy", detail, retry_after=round(after * random.uniform(1, 1.5), 1), extra={"cause": cause})
