"""What every embedding cache must do."""

from connectors.ports import EmbeddingCache
from topics.identity import text_hash

ONE, TWO = text_hash("one"), text_hash("two")


class EmbeddingContract:
    """Subclasses give a fixture ``embeddings``: an open, empty cache."""

    async def test_returns_what_was_put(self, embeddings: EmbeddingCache) -> None:
        """Bytes come back as they went in, in the order asked for, None where unknown."""
        await embeddings.put("m", {ONE: b"\x00\xff\r\n1", TWO: b"2" * 1536})
        assert await embeddings.get("m", [TWO, text_hash("three"), ONE, TWO]) == [
            b"2" * 1536,
            None,
            b"\x00\xff\r\n1",
            b"2" * 1536,
        ]

    async def test_models_do_not_mix(self, embeddings: EmbeddingCache) -> None:
        """A vector of one model is never given out for another, however alike their names."""
        await embeddings.put("a", {ONE: b"a"})
        await embeddings.put("a:b", {ONE: b"ab"})
        assert await embeddings.get("a", [ONE]) == [b"a"]
        assert await embeddings.get("a:b", [ONE]) == [b"ab"]
        assert await embeddings.get("A", [ONE]) == [None]

    async def test_nothing_asked(self, embeddings: EmbeddingCache) -> None:
        """Empty questions are fine."""
        assert await embeddings.get("m", []) == []
        await embeddings.put("m", {})

    async def test_many_at_once(self, embeddings: EmbeddingCache) -> None:
        """A thousand vectors go in and out in one call."""
        vectors = {text_hash(str(n)): str(n).encode() for n in range(1000)}
        await embeddings.put("m", vectors)
        assert await embeddings.get("m", list(vectors)) == list(vectors.values())
