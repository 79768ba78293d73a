"""A rewriter without a model: it says what it was told to, or fails as it was told to.  For flow tests."""

from collections.abc import Callable, Sequence

from connectors.errors import ConnectorError
from topics.queries import Turn


class MemoryRewriter:
    """A shipped fake of :class:`connectors.search_ports.Rewriter`.  Set :attr:`failure` to make it fail."""

    name = "memory"

    def __init__(self, says: Callable[[str, Sequence[Turn]], str]) -> None:
        self._says = says
        self.failure: ConnectorError | None = None
        self.asked: list[str] = []

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """There is nothing to let go."""

    async def rewrite(self, question: str, history: Sequence[Turn], seconds: float) -> str:
        """What it was told to say."""
        del seconds
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
        return self._says(question, history)

    async def probe(self) -> None:
        """Fails while rewriting does."""
        if self.failure is not None:
            raise self.failure
