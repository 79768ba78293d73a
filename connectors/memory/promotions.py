"""How often questions are asked, in a dict that knows no days.  Same contract as Redis."""

import time
from collections import Counter

from connectors.errors import Transient
from connectors.search_ports import Standing


class MemoryPromotions:
    """:class:`connectors.search_ports.Promotions`; ``held`` is how long a word of a worker holds, in seconds."""

    def __init__(self, held: float = 6.0) -> None:
        self.asked = Counter[str]()
        self.away = False
        self._held = held
        self._said: dict[bool, float] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def count(self, question: str) -> Standing:
        self._check()
        self.asked[question] += 1
        return Standing(self.asked[question], self._holds(word=True) and not self._holds(word=False))

    async def tell(self, *, purging: bool) -> None:
        self._check()
        self._said[purging] = time.monotonic()

    def _holds(self, *, word: bool) -> bool:
        return word in self._said and time.monotonic() - self._said[word] < self._held

    def _check(self) -> None:
        if self.away:
            raise Transient("promotions are away")
