"""The lanes of all selected tests are started side by side; each test judges its own, and ends it."""

from collections.abc import Iterator

import pytest

from runtime.settings import Settings
from tests.upstream.lanes import SECONDS, Broker, Lane


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario: the plain Faust worker that a test judges")


@pytest.fixture(scope="package")
def lanes(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Lane]]:
    """A lane for every selected test that has a scenario, in the tests' order."""
    broker, made = Broker(settings.kafka.brokers), dict[str, Lane]()
    for item in request.session.items:
        if mark := item.get_closest_marker("scenario"):
            made[item.nodeid] = Lane(mark.args[0], broker, tmp_path_factory.mktemp("lane"))
    for created in broker.admin.create_topics([topic for lane in made.values() for topic in lane.topics()]).values():
        created.result(SECONDS)
    try:
        for lane in made.values():
            lane.send(*lane.scenario.words)
            if lane.scenario.start:
                lane.start()
        yield made
    finally:
        for lane in made.values():
            lane.close()


@pytest.fixture
def lane(request: pytest.FixtureRequest, lanes: dict[str, Lane]) -> Iterator[Lane]:
    """The test's own lane, its first worker running."""
    yield lanes[request.node.nodeid]
    lanes[request.node.nodeid].close()
