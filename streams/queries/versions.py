"""Versions of the language model that this worker knows, and the ladder that each question climbs.

Which version leads, and which share of the questions asks another one first, is told by ``control``, read beside the
questions: a change needs no restart.  Endpoints and their keys are settings; a version that ``control`` names and the
settings do not have is left out, with a warning.
"""

import asyncio
from collections.abc import Collection, Sequence

from connectors.control import ControlLog
from connectors.errors import ConnectorError, Transient
from connectors.llm_ports import LlmBoard, WorkerVersions
from connectors.ports import AnswerModel
from runtime import metrics
from runtime.clock import Clock
from runtime.endpoints import QUOTING, Endpoint
from runtime.logs import logger
from streams.queries.ladder import Rung
from topics.codec import DecodeError
from topics.control import LlmVersions
from topics.epochs import READ_EVERY
from topics.versions import chosen, read_versions

log = logger(__name__)
TELL_EVERY = 2.0  # seconds


class UnknownVersion(LookupError):
    """A question names a version that there is not; the message names those that there are."""


class Versions:
    """``rungs`` in the order of the ladder; the last needs nothing from outside.

    ``told`` is what holds while ``control`` says nothing; ``alone`` are versions that no question falls back to.
    """

    def __init__(self, rungs: Sequence[Rung], told: LlmVersions, alone: Collection[str] = ()) -> None:
        self.rungs, self._default, self._alone = rungs, told, frozenset(alone)
        self._named = {rung.name: rung for rung in rungs}
        self.now = told
        self.follow(None)

    def ladder(self, job_id: str, wanted: str | None = None) -> list[Rung]:
        """For one question, and the same whenever it comes again; a version that it names itself is asked alone."""
        *others, last = self.rungs
        if wanted is not None:
            if wanted not in self._named:
                raise UnknownVersion(f"there is no model {wanted[:100]!r}; there are: {', '.join(self._named)}")
            return list(dict.fromkeys((self._named[wanted], last)))
        first = [self._named[chosen(self.now, job_id)], self._named[self.now.lead]]
        return list(dict.fromkeys((*first, *(rung for rung in others if rung.name not in self._alone), last)))

    def follow(self, told: LlmVersions | None) -> None:
        """What ``control`` says, as far as this worker knows the names."""
        told = told or self._default
        known = self._named
        if unknown := sorted({told.lead, *told.shares} - known.keys()):
            log.warning("control names models that the settings do not have", models=unknown, known=sorted(known))
        lead = told.lead if told.lead in known else self._default.lead
        shares = {name: share for name, share in told.shares.items() if name in known and name != lead}
        self.now = LlmVersions(lead=lead, shares=shares, previous=told.previous, changed_at=told.changed_at)
        for name in known:
            share = 1 - sum(shares.values()) if name == lead else shares.get(name, 0.0)
            metrics.llm_share.labels(name).set(round(share, 6))


class Following:
    """Keeps :class:`Versions` at what ``control`` says, and tells the board how each version does."""

    def __init__(self, versions: Versions, control: ControlLog, board: LlmBoard, worker: str) -> None:
        self._versions, self._control, self._board, self._worker = versions, control, board, worker
        self._seen: LlmVersions | None = None

    async def open(self) -> None:
        """Read ``control`` once: the first question is asked as it says."""
        await self._control.open()
        await self._read()

    async def close(self) -> None:
        await self._control.close()
        await self._board.close()

    async def run(self) -> None:
        """Look for news, for ever; while the broker is away, what was said last holds."""
        while True:
            await asyncio.sleep(READ_EVERY)
            try:
                await self._control.open()
                await self._read()
            except Transient as error:
                log.debug("control is not read", error=str(error))

    async def _read(self) -> None:
        try:
            told = read_versions((r.key, r.value, r.headers) for r in await self._control.read())
        except DecodeError as error:
            raise Transient(f"control cannot be read here: {error}", reason="control") from error
        if told != self._seen:
            log.info("language models", told=told)
            self._seen = told
            self._versions.follow(told)

    async def tell(self) -> None:
        """Add what was counted to the board's figures, again and again; best effort."""
        while True:
            try:
                await self._board.open()
                await self.tell_once()
            except ConnectorError as error:  # what was counted is told later
                log.debug("figures of models are not told", error=str(error))
            await asyncio.sleep(TELL_EVERY)

    async def tell_once(self) -> None:
        now = self._versions.now
        names = [rung.name for rung in self._versions.rungs]
        await self._board.tell(self._worker, WorkerVersions(names, now.lead, now.shares, now.changed_at))
        for rung in self._versions.rungs:
            if counts := rung.figures.take():
                try:
                    await self._board.count(now.changed_at, rung.name, counts)
                except ConnectorError:
                    rung.figures.give_back(counts)
                    raise


def plain(models: Sequence[AnswerModel], clock: Clock) -> Versions:
    """Models in this order, without breakers."""
    return Versions([Rung(model, clock) for model in models], LlmVersions(lead=models[0].name))


def configured(endpoints: Sequence[Endpoint]) -> LlmVersions:
    """What settings say of endpoints: the first leads."""
    shares = {endpoint.name: endpoint.share for endpoint in endpoints if endpoint.share}
    return LlmVersions(lead=endpoints[0].name if endpoints else QUOTING, shares=shares)
