"""What a retrieval worker is made of, by its settings; nothing is opened."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import Settings
from streams.bootstrap import build_stage
from streams.outcome import Output


def _innermost(step: Any) -> Any:
    """The stage behind what is wrapped around its step."""
    while not hasattr(step, "__self__"):
        step = next(cell.cell_contents for cell in step.__closure__ if inspect.isroutine(cell.cell_contents))
    return step.__self__


async def nobody(_: Sequence[Output]) -> None:
    """Nothing is said."""


@pytest.mark.parametrize(
    ("engine", "tail", "name", "kept"),
    [
        ("tantivy", "true", "tantivy", True),
        ("weaviate", "true", "weaviate", False),
        ("weaviate", "false", "weaviate", False),
        ("none", "true", None, False),
    ],
)
async def test_keyword_search_is_what_the_setting_says(
    tmp_path: Path, engine: str, tail: str, name: str | None, kept: bool
) -> None:
    """An index of the worker's own is opened and closed with it; Weaviate's needs no tail and nothing of its own."""
    settings = Settings.from_env(
        {"FRESHET_KEYWORD_ENGINE": engine, "FRESHET_KEYWORD_DIR": str(tmp_path), "FRESHET_QUERIES_TAIL": tail}
    )
    stage = await build_stage("retrieve", settings, nobody)
    try:
        keywords = _innermost(stage.record_step)._search._legs._keywords
        assert (keywords and keywords.name) == name
        assert ("keywords" in [port.name for port in stage.ports]) == kept
    finally:
        for port in stage.ports:
            await port.close()
