"""Fixtures for all tests.  Real servers are those of the local stack, on ports and in a folder of their own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient

from cli.topics import plans_of
from deploy.local import stack
from deploy.local.environment import local_environment
from deploy.local.own_stack import process_environment
from deploy.local.state import state_folder
from runtime.settings import Settings
from topics import provision

TEST_PORT_BASE = "18100"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under STRICT=1 a skipped test is a failure: what it needs should have been installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("STRICT", "") not in {"", "0"} and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `vllm` run only where they are asked for: `make test-vllm`."""
    if "vllm" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("vllm")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("vllm")]


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """Real Kafka, Weaviate and Redis: started here, and stopped here unless they ran before."""
    state = state_folder(state_folder().folder / "test")
    base = os.environ.get("FRESHET_TEST_PORT_BASE", TEST_PORT_BASE)
    user = process_environment({"FRESHET_PORT_BASE": base})
    up = stack.up(state, user, print, servers_only=True)
    yield local_environment(up.ports, user)
    if not up.already_up:
        stack.down(state, print)


@pytest.fixture(scope="session")
def server_environment() -> Iterator[dict[str, str]]:
    """Environment of :func:`running_servers`."""
    with running_servers() as environment:
        yield environment


@pytest.fixture(scope="session")
def settings(server_environment: dict[str, str]) -> Settings:
    """Settings for the real servers, with a prefix that no other run uses."""
    return Settings.from_env(server_environment | {"FRESHET_PREFIX": f"t{secrets.token_hex(4)}"})


@pytest.fixture(scope="session")
def topics_made(settings: Settings) -> Settings:
    """The settings, after all their topics were made."""
    provision.apply(AdminClient({"bootstrap.servers": settings.kafka.brokers}), plans_of(settings))
    return settings
