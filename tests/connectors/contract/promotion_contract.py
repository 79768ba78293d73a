"""What everything that knows how often questions are asked does."""

import asyncio

from connectors.search_ports import Promotions, Standing


class PromotionContract:
    """Inherit it and give a fixture ``promotions``: open and empty."""

    async def test_each_question_is_counted(self, promotions: Promotions) -> None:
        """By itself, also when many ask at once."""
        assert await promotions.count("a") == Standing(1, purging=False)
        found = await asyncio.gather(*(promotions.count("b") for _ in range(20)))
        assert sorted(standing.asked for standing in found) == list(range(1, 21))
        assert (await promotions.count("a")).asked == 2

    async def test_one_no_outweighs_every_yes(self, promotions: Promotions) -> None:
        """Edges are purged if a worker says so and none says that they are not."""
        await promotions.tell(purging=True)
        assert (await promotions.count("a")).purging
        await promotions.tell(purging=False)
        await promotions.tell(purging=True)
        assert not (await promotions.count("a")).purging
