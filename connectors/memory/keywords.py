"""Keyword search in the chunks of a :class:`connectors.memory.store.MemoryStore`.  Same contract as the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from connectors.filters import matches
from connectors.keywords.language import analyser, words_of
from connectors.keywords.rarity import rarity, share_of
from connectors.memory.store import MemoryStore
from connectors.ports import Hit, StoredChunk
from connectors.search_ports import KeywordState
from topics.identity import PUBLIC, DocumentRef
from topics.queries import Filter

K1: Final = 1.2
B: Final = 0.75


class MemoryKeywords:
    """:class:`connectors.search_ports.KeywordIndex`; reads all chunks of a tenant for each question."""

    name, stands_alone = "memory", False

    def __init__(self, store: MemoryStore, language: str = "english") -> None:
        self._store, self._analyser = store, analyser(language)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def state(self) -> KeywordState:
        return KeywordState(whole=True)

    async def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[Hit]:
        words, allowed = list(dict.fromkeys(words_of(text, self._analyser))), {PUBLIC, *principals}
        chunks = [(chunk, Counter(words_of(chunk.text, self._analyser))) for chunk in self._store.chunks(tenant)]
        if not words or not chunks:
            return []
        counts = {"": len(chunks)} | {word: sum(word in held for _, held in chunks) for word in words}
        usual = sum(held.total() for _, held in chunks) / len(chunks)

        def score(held: Counter[str]) -> float:
            long = K1 * (1 - B + B * held.total() / usual)
            found = ((word, held[word]) for word in words if word in held)
            return sum(rarity(counts[word], len(chunks)) * n * (K1 + 1) / (n + long) for word, n in found)

        hits = [
            Hit(chunk.id, chunk.ref, chunk.text, score(held), words=share_of(words, held, counts))
            for chunk, held in chunks
            if any(word in held for word in words) and _seen(chunk, allowed, where)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[: max(limit, 0)]

    async def texts(self, ref: DocumentRef, version: str, chunks: Mapping[int, str]) -> dict[int, str]:
        del version
        texts = {chunk.id: chunk.text for chunk in self._store.chunks(ref.tenant)}
        return {place: texts[chunk_id] for place, chunk_id in chunks.items() if chunk_id in texts}


def _seen(chunk: StoredChunk, allowed: set[str], where: Filter) -> bool:
    return not allowed.isdisjoint(chunk.access) and matches(chunk.metadata, where)
