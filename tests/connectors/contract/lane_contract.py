"""What every board of paused lanes must do."""

from connectors.ports import LaneBoard, PausedLane

ONE = PausedLane("0", 1_700_000_000_000, "Weaviate, upsert: no answer")
OTHER = PausedLane("1", 1_700_000_000_500, "away")


class LaneContract:
    """Subclasses give a fixture ``board``: an open, empty board."""

    async def test_a_pause_is_told_until_it_is_taken_back(self, board: LaneBoard) -> None:
        """A lane that stands still is named with its reason, others are not; afterwards none is."""
        await board.pause("index", ONE)
        assert await board.paused(["embed", "index", "index.retry"]) == {"index": ONE}
        await board.resume("index", "0")
        assert await board.paused(["index"]) == {}
        assert await board.paused([]) == {}

    async def test_only_who_said_it_takes_it_back(self, board: LaneBoard) -> None:
        """One worker that moves again does not hide that another one stands still."""
        await board.pause("index", ONE)
        await board.pause("index", OTHER)
        await board.resume("index", "0")
        assert await board.paused(["index"]) == {"index": OTHER}
        await board.resume("embed", "0")
