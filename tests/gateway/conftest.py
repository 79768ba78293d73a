"""The application on the in-memory log."""

from collections.abc import AsyncIterator

import httpx
import pytest

from connectors.memory.manifests import MemoryManifests
from gateway.app import Gateway, create_app
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from tests.gateway.builders import door_settings, serving


@pytest.fixture
def log() -> MemoryLog:
    """The log."""
    return MemoryLog()


@pytest.fixture
def manifests() -> MemoryManifests:
    """The state store."""
    return MemoryManifests()


@pytest.fixture
def door() -> Settings:
    """Settings of the application; `settings` are those of the real servers."""
    return door_settings(
        TENANTS="default,acme", MAX_DOCUMENT_BYTES="4096", GATEWAY_MAX_IN_FLIGHT="4", GATEWAY_TENANT_SHARE="1"
    )


@pytest.fixture
def app(door: Settings, manifests: MemoryManifests, log: MemoryLog) -> Gateway:
    """The application."""
    return create_app(door, manifests, log)


@pytest.fixture
async def client(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running application."""
    async with serving(app) as found:
        yield found
