"""The ladder: which models a question asks, in which order, how often, and until when.

Each rung has a breaker, since a model that is away would cost every question its time, and remembers until when it
asked to be left alone.  The last rung needs nothing from outside.  Nothing here writes to the log.
"""

import random
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from connectors.errors import ConnectorError, Overloaded, Transient
from connectors.ports import AnswerModel, Endpoint
from runtime import metrics
from runtime.clock import Clock
from runtime.logs import logger
from runtime.retry import Backoff
from streams.queries.breaker import Breaker
from streams.queries.figures import Figures
from topics.headers import Hop

log = logger(__name__)
TRIES: Final = 3  # of one model, for one answer
PAUSE: Final = 0.25  # seconds before the second try, twice that before the third; an endpoint may ask for more
RESERVE: Final = 2.0  # seconds kept for the last rung, or a quarter of what is left
PATIENCE: Final = 2.0  # seconds to wait for an endpoint that asked for it, where another one can be asked instead
SILENT: Final = 0.5  # share of the time that a model may be silent, where another one can be asked instead
TELLING: Final = 2.0  # seconds: an endpoint that was given less and said nothing may be well
SPREAD: Final = 0.1  # of a wait that was asked for, so that not all come back in the same moment
PROBE_SECONDS: Final = 10.0
BACKOFF: Final = Backoff(first=0.5, cap=5.0)  # between probes, each of which asks for a token
_OUTAGE: Final = frozenset({"away", "endpoint", "cut"})
_SETTINGS: Final = frozenset({"key", "model"})  # as good as away until somebody has put them right


class Rung:
    """One model of the ladder."""

    def __init__(
        self, model: AnswerModel, clock: Clock, breaker: Breaker | None = None, provider: str = "openai"
    ) -> None:
        self.model, self.breaker, self.provider, self._clock = model, breaker, provider, clock
        self.figures = Figures(model.name)
        self._rests_until = 0.0

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def open(self) -> bool:
        """Whether it is known to be away."""
        return self.breaker is not None and self.breaker.open

    def rests(self) -> float:
        """Seconds until it may be asked again."""
        return max(0.0, self._rests_until - self._clock.now())

    def rest(self, seconds: float) -> None:
        """It is not to be asked for so long."""
        until = self._clock.now() + seconds
        self._rests_until = max(self._rests_until, until)

    def given_up(self, error: ConnectorError, *, silent: float) -> None:
        """A question goes on without it; ``silent`` is how long it said nothing, if it said nothing at all."""
        if self.breaker is None or isinstance(error, Overloaded):
            return
        if error.reason in _OUTAGE or (error.reason == "timeout" and silent >= TELLING):
            self.breaker.failed(str(error))
        elif error.reason in _SETTINGS:
            self.breaker.failed(str(error), surely=True)

    def passed(self) -> None:
        """It has answered."""
        if self.breaker is not None:
            self.breaker.passed()


def guarded(model: Endpoint, clock: Clock) -> Rung:
    """A rung for an endpoint, which is probed while it is away: by asking it for a token."""

    async def probe() -> None:
        try:
            await model.probe(PROBE_SECONDS)
        except Overloaded as error:  # it is there
            rung.rest(error.retry_after)

    rung = Rung(model, clock, Breaker(f"model {model.name}", probe, PROBE_SECONDS, BACKOFF), model.provider)
    return rung


class Try:
    """One try of one model: it must have said something ``first_by``, and all when it ``ends``.  Say how it went."""

    def __init__(self, rung: Rung, place: int, number: int, first_by: float, ends: float) -> None:
        self.rung, self.place, self.number, self.first_by, self.ends = rung, place, number, first_by, ends
        self.error: ConnectorError | None = None
        self.spoke = False

    @property
    def model(self) -> AnswerModel:
        return self.rung.model

    def failed(self, error: ConnectorError) -> None:
        """It did not answer; the next try is another one."""
        self.error = error
        said = str(error)[:300]
        log.warning("model failed", model=self.rung.name, attempt=self.number, reason=error.reason, error=said)
        self.rung.figures.tried(error.reason)
        if isinstance(error, Overloaded):
            self.rung.rest(error.retry_after)

    def passed(self) -> None:
        """It answered."""
        self.rung.figures.tried("ok")
        self.rung.passed()


class Climb:
    """The way of one question up the ladder; ``failed`` are the labels of the rungs that were left behind."""

    def __init__(self, rungs: Sequence[Rung], hop: Hop, clock: Clock) -> None:
        self._rungs, self._hop, self._clock = rungs, hop, clock
        self.failed: list[str] = []

    async def tries(self) -> AsyncGenerator[Try, None]:
        """Every try that is worth it, in order; take no more once one has passed."""
        for place, rung in enumerate(self._rungs):
            another = any(not each.open for each in self._rungs[place + 1 : -1])
            ends = self._ends(place)
            error: ConnectorError | None = None
            silent = 0.0
            for number in range(1, TRIES + 1):
                if hindered := await self._hindered(rung, error, number, ends, another=another):
                    error = error or hindered
                    break
                began = self._clock.now()
                attempt = Try(rung, place, number, began + (ends - began) * SILENT if another else ends, ends)
                yield attempt
                if (error := attempt.error) is None:
                    return
                silent = 0.0 if attempt.spoke else self._clock.now() - began
                if not isinstance(error, Transient) or error.reason == "timeout":
                    break  # silence has cost the most already, and an endpoint that hangs goes on hanging
            assert error is not None
            rung.given_up(error, silent=silent)
            self.failed.append(f"model-{place}:{error.reason}")
            metrics.degraded_total.labels(f"model-{place}").inc()

    async def _hindered(
        self, rung: Rung, error: ConnectorError | None, number: int, ends: float, *, another: bool
    ) -> ConnectorError | None:
        """Why the rung is not to be asked; where it only needs a pause that fits, after that pause."""
        pause = PAUSE * 2 ** (number - 2) if error and not isinstance(error, Overloaded) else 0.0
        while not rung.open:
            if rests := rung.rests():
                pause = max(pause, rests * (1 + random.random() * SPREAD))
            if not pause:
                return None
            if self._clock.now() + pause >= ends or (another and pause > PATIENCE):
                return Overloaded(f"{rung.name} asked for a pause", retry_after=pause)
            if error:
                metrics.generation_retries.labels(error.reason).inc()
            await self._clock.sleep(pause)
            pause = 0.0
        return Transient(f"{rung.name} is away", reason="open")

    def _ends(self, place: int) -> float:
        """When a model must be done, so that those further down can still answer before the deadline."""
        now = self._clock.now()
        left = self._hop.remaining(now)
        return now + (left if place == len(self._rungs) - 1 else left - min(RESERVE, left / 4))
