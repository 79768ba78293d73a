"""Passages that edges may use without asking: of questions that come again and again, while edges are purged."""

import asyncio
import time
from typing import Final

import msgspec

from connectors.errors import ConnectorError
from connectors.search_ports import Promotions
from gateway.payloads import QuestionBody
from runtime.logs import logger
from runtime.settings import Settings
from topics.identity import digest

SECONDS: Final = 0.1  # that counting may take
PAUSE: Final = 2.0  # seconds in which nothing is counted, after that was too long
_log = logger("gateway.promoter")


class Promoter:
    """Without ``promotions``, or where no edge is told to forget, nothing is promoted."""

    def __init__(self, settings: Settings, promotions: Promotions | None) -> None:
        self._promotions = promotions if settings.edge.addresses else None
        self._after, self._paused_until = settings.edge.promote_after, 0.0

    async def open(self) -> None:
        """Connect; nobody waits for it."""
        if self._promotions is not None:
            await self._promotions.open()

    async def close(self) -> None:
        if self._promotions is not None:
            await self._promotions.close()

    async def asked(self, body: QuestionBody) -> bool:
        """Everyone's question was asked once more; whether edges may keep its passages now.

        Edges know questions by their URLs, so it counts as it was put.
        """
        if self._promotions is None or body.at_least or time.monotonic() < self._paused_until:
            return False
        asked = msgspec.json.encode([body.question, body.k, body.search, body.filter], order="deterministic")
        try:
            async with asyncio.timeout(SECONDS):
                standing = await self._promotions.count(digest(asked))
        except (ConnectorError, TimeoutError) as error:
            _log.debug("questions are not counted", reason=str(error) or "timeout")
            self._paused_until = time.monotonic() + PAUSE
            return False
        return standing.asked >= self._after and standing.purging
