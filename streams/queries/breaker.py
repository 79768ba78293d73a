"""What is away is not asked again by every question: it is probed beside them until it answers.

No library that is kept fits: theirs let a caller's own call be the probe, so that in a network that swallows everything
somebody would wait out the deadline at every probe (docs/adr/0021).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from connectors.errors import ConnectorError, Transient
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff

FAILURES: Final = 2  # in a row, before it counts as away; one slow call is not yet an outage
PROBE_SECONDS: Final = 2.0  # that a probe may take
BACKOFF: Final = Backoff(first=0.1, cap=1.0)
log = logger(__name__)
T = TypeVar("T")


class Breaker:
    """In front of one dependency; closed while all is well.  ``probe`` must succeed before it closes again."""

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        probe_seconds: float | None = None,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._name, self._probe, self._probe_seconds, self._backoff = name, probe, probe_seconds, backoff
        self._failures = 0
        self._away = asyncio.Event()
        metrics.breaker_open.labels(name).set(0)

    @property
    def open(self) -> bool:
        """Whether it is away, as far as is known."""
        return self._away.is_set()

    async def call(self, begin: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What it answers; :class:`Transient` at once while it is away, and after so many seconds (``timeout``)."""
        if self.open:
            raise Transient(f"{self._name} is away", reason="unavailable")
        try:
            async with asyncio.timeout(seconds):
                answer = await begin()
        except TimeoutError:
            self.failed(f"no answer within {seconds:g} s")
            raise Transient(f"{self._name} did not answer within {seconds:g} s", reason="timeout") from None
        except Transient as error:
            self.failed(str(error))
            raise
        self.passed()
        return answer

    def passed(self) -> None:
        """It has answered."""
        self._failures = 0

    def failed(self, why: str, *, surely: bool = False) -> None:
        """Count a failure; ``surely`` says that it is an outage."""
        self._failures += 1
        if (surely or self._failures >= FAILURES) and not self.open:
            log.warning("away: probed until it answers", what=self._name, error=why[:500])
            self._turn(away=True)

    async def run(self) -> None:
        """Probe while it is away, for ever."""
        while True:
            await self._away.wait()
            for delay in self._backoff.delays():
                await asyncio.sleep(delay)
                try:
                    async with asyncio.timeout(self._probe_seconds or PROBE_SECONDS):
                        await self._probe()
                        break
                except (ConnectorError, TimeoutError) as error:
                    log.debug("still away", what=self._name, error=str(error))
            log.info("back", what=self._name)
            self._turn(away=False)

    def _turn(self, *, away: bool) -> None:
        self._failures = 0
        metrics.breaker_open.labels(self._name).set(away)
        (self._away.set if away else self._away.clear)()
