"""What every hot cache does."""

import asyncio

from connectors.search_ports import HotCache
from topics.identity import DocumentRef

A, B = DocumentRef("default", "a"), DocumentRef("default", "b")


class HotContract:
    """Inherit it and give a fixture ``cache``: empty, of three entries and two seconds."""

    async def test_what_was_put_is_there(self, cache: HotCache) -> None:
        """Until it is dropped, and no other is."""
        await cache.put("k", b"one", [A])
        await cache.put("l", b"two", [B])
        assert (await cache.get("k"), await cache.get("l"), await cache.get("m")) == (b"one", b"two", None)
        await cache.put("k", b"three", [A])
        await cache.drop("l")
        assert (await cache.get("k"), await cache.get("l")) == (b"three", None)
        state = await cache.state()
        assert (state.entries, state.size) == (1, 5)

    async def test_what_came_of_a_document_goes_with_it(self, cache: HotCache) -> None:
        """All of it, and nothing else; twice is as good as once."""
        await cache.put("k", b"1", [A, B])
        await cache.put("l", b"2", [B])
        assert await cache.evict([A]) == 1
        assert await cache.evict([A]) == 0
        assert (await cache.get("k"), await cache.get("l")) == (None, b"2")

    async def test_the_oldest_go_first(self, cache: HotCache) -> None:
        """Of four entries the last three stay."""
        for key in "klmn":
            await cache.put(key, b"x", [A])
            await asyncio.sleep(0.002)  # Redis dates entries by milliseconds
        assert [await cache.get(key) for key in "klmn"] == [None, b"x", b"x", b"x"]

    async def test_an_entry_ends(self, cache: HotCache) -> None:
        """After its time to live."""
        await cache.put("k", b"1", [A])
        await asyncio.sleep(2.1)
        assert await cache.get("k") is None

    async def test_a_purge_leaves_nothing(self, cache: HotCache) -> None:
        """And says how many entries went."""
        await cache.put("k", b"1", [A])
        await cache.put("l", b"1", [])
        assert (await cache.purge(), await cache.get("k")) == (2, None)
        assert await cache.purge(everywhere=True) == 0

    async def test_one_has_the_claim(self, cache: HotCache) -> None:
        """Until it is given back, or has ended."""
        assert await cache.claim("k", 0.1) == (None, True)
        assert await cache.claim("k", 0.1) == (None, False)
        assert await cache.claim("l", 5) == (None, True)
        await cache.release("l")
        assert await cache.claim("l", 5) == (None, True)
        await asyncio.sleep(0.15)
        assert await cache.claim("k", 0.1) == (None, True)

    async def test_what_is_filled_is_not_claimed(self, cache: HotCache) -> None:
        """Who comes second gets the entry; and once that is dropped, the claim, which ended with the filling."""
        assert await cache.claim("k", 60) == (None, True)
        await cache.put("k", b"1", [A])
        assert await cache.claim("k", 60) == (b"1", False)
        await cache.drop("k")
        assert await cache.claim("k", 60) == (None, True)
