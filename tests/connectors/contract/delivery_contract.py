"""What every delivery ledger must do."""

from connectors.ports import DeliveryLedger

A, B = ("documents", 0, 7), ("documents", 1, 7)


class DeliveryContract:
    """Subclasses give a fixture ``deliveries``: an open, empty ledger."""

    async def test_counts_deliveries_until_finished(self, deliveries: DeliveryLedger) -> None:
        """Each beginning tells how often it was begun before; looking does not count; finishing forgets."""
        assert await deliveries.begin("chunk", [A, B]) == [0, 0]
        assert await deliveries.begin("chunk", [A]) == [1]
        assert await deliveries.counts("chunk", [B, A]) == [1, 2]
        await deliveries.finish("chunk", [A])
        assert await deliveries.counts("chunk", [B, A]) == [1, 0]
        assert await deliveries.begin("chunk", [B, A]) == [1, 0]

    async def test_lanes_count_apart(self, deliveries: DeliveryLedger) -> None:
        """Two lanes that read one topic do not see each other's counts."""
        assert await deliveries.begin("chunk", [A]) == [0]
        assert await deliveries.begin("embed", [A]) == [0]
        await deliveries.finish("embed", [A])
        assert await deliveries.begin("chunk", [A]) == [1]

    async def test_the_same_place_twice_in_a_call(self, deliveries: DeliveryLedger) -> None:
        """Each mention counts."""
        assert await deliveries.begin("chunk", [A, A, A]) == [0, 1, 2]

    async def test_nothing_asked(self, deliveries: DeliveryLedger) -> None:
        """Empty calls, and finishing what never began, are fine."""
        assert await deliveries.begin("chunk", []) == []
        assert await deliveries.counts("chunk", []) == []
        await deliveries.finish("chunk", [])
        await deliveries.finish("chunk", [A])
        assert await deliveries.begin("chunk", [A]) == [0]
