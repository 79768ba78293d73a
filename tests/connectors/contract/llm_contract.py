"""What every board of language models must do."""

from connectors.llm_ports import LlmBoard, WorkerVersions

ONE = WorkerVersions(["a", "b/c:d"], "a", {"b/c:d": 0.05}, 7)


class LlmBoardContract:
    """Subclasses have a fixture ``llm_board``, open and empty."""

    async def test_workers_are_known_by_what_they_said_last(self, llm_board: LlmBoard) -> None:
        """Each by its name."""
        assert await llm_board.workers() == {}
        await llm_board.tell("w.1", ONE)
        await llm_board.tell("w.2", ONE)
        later = WorkerVersions(["a"], "a", {}, 8)
        await llm_board.tell("w.1", later)
        assert await llm_board.workers() == {"w.1": later, "w.2": ONE}

    async def test_figures_add_up_since_a_change(self, llm_board: LlmBoard) -> None:
        """By version and name; another change begins at nothing."""
        for _ in range(2):
            await llm_board.count(7, "b/c:d", {"tried.ok": 1, "input": 100.5})
        await llm_board.count(7, "a", {"tried.ok": 3})
        assert await llm_board.figures(7) == {"b/c:d": {"tried.ok": 2.0, "input": 201.0}, "a": {"tried.ok": 3.0}}
        assert await llm_board.figures(8) == {}
