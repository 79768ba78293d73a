"""Lanes on the real broker."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.streams.lane import Lane

MODES = ["batch", "window"]


@pytest.fixture
def lanes(settings: Settings, server_environment: dict[str, str], tmp_path: Path) -> Iterator[list[Lane]]:
    """Empty; tests put their lanes in, so that every process ends with the test."""
    made: list[Lane] = []
    yield made
    for lane in made:
        lane.close()


@pytest.fixture(params=MODES)
def lane(
    request: pytest.FixtureRequest,
    settings: Settings,
    server_environment: dict[str, str],
    tmp_path: Path,
    lanes: list[Lane],
) -> Lane:
    kafka = settings.kafka.model_copy(update={"prefix": f"r{secrets.token_hex(4)}", "partitions": 2})
    environment = server_environment | {"FRESHET_PARTITIONS": "2"}
    made = Lane(settings.model_copy(update={"kafka": kafka}), environment, request.param, tmp_path / "log")
    lanes.append(made)
    return made
