"""The in-memory log keeps the contract."""

from collections.abc import AsyncIterator

import pytest

from gateway.memory_log import MemoryLog
from tests.gateway.log_contract import Ears, LogContract, Say
from topics.queries import AnswerEvent


@pytest.fixture
def ears() -> Ears:
    """Who listens."""
    return Ears()


@pytest.fixture
async def opened(log: MemoryLog, ears: Ears) -> AsyncIterator[MemoryLog]:
    """The log, followed."""
    await log.open(ears.deliver, ears.wanted)
    yield log
    await log.close()


@pytest.fixture
def say(log: MemoryLog) -> Say:
    """A worker's pen."""

    async def write(event: AnswerEvent) -> None:
        log.answer(event)

    return write


class TestMemoryLog(LogContract):
    """See :class:`LogContract`."""
