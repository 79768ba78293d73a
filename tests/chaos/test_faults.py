"""Each fault on a real system, which must feel it, and be whole again when it is healed."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from confluent_kafka import ConsumerGroupState

from chaos.faults import FAULTS, Fault, Site
from chaos.faults.network import through
from chaos.faults.servers import client
from chaos.faults.site import NotBack
from chaos.overload import paced
from chaos.proxies import proxies
from deploy.local.own_stack import own_stack, process_environment
from deploy.local.programs import WORKERS
from runtime.settings import Settings

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PORT_BASE = "19300"
SESSION = 2.0
LINKED = ("kafka", "weaviate", "weaviate-grpc", "redis-state", "redis-cache")


def fault(name: str) -> Fault:
    """By its name."""
    return next(one for one in FAULTS if one.name == name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack with a gateway and one worker, with proxies before everything, and a language model that writes."""
    base = os.environ.get("FRESHET_FAULTS_PORT_BASE", PORT_BASE)
    endpoint = int(base) + 89
    settings = {
        "FRESHET_SESSION_TIMEOUT": str(SESSION),
        "FRESHET_WORKERS": ",".join(f"{name}=0" for name in WORKERS if name != "chunk"),
    }
    log = tmp_path_factory.mktemp("faults") / "toxiproxy.log"
    with (
        paced(endpoint) as llm,
        proxies(int(base), LINKED, log, f"127.0.0.1:{endpoint}") as between,
        own_stack("faults", base, {**settings, **llm, **between.settings}) as stack,
    ):
        yield Site(stack, between, Settings.from_env(stack.environment))
