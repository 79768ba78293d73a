"""A real vLLM with a model of our making, a proxy before it that makes trouble, and a whole system behind that."""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.cache import cache_folder
from deploy.local.own_stack import own_stack
from deploy.local.state import state_folder
from deploy.local.vllm import python_of, serving
from runtime.settings import Settings
from tests.e2e.conftest import E2E_PORT_BASE, System
from tests.vllm import tiny_falcon, tiny_llama
from tests.vllm.faults import Faults

BEHIND_E2E = 200  # ports from those of the end-to-end tests to ours; servers and proxy are up to three below
KEY = "a-key-of-the-tests"
MODEL = "tiny"
NEW = "tiny-new"


def _port_base() -> int:
    return int(os.environ.get("FRESHET_E2E_PORT_BASE", E2E_PORT_BASE)) + BEHIND_E2E


@contextmanager
def served(model: Path, port: int) -> Iterator[str]:
    """A server that runs, with a model of ours."""
    log = Path(state_folder().folder) / f"vllm-{port}.log"
    options = ("--served-model-name", MODEL, "--max-model-len", "1024", "--api-key", KEY)
    with serving(python_of(cache_folder(os.environ)), model, port, log, os.environ, print, *options) as url:
        yield url


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The addresses of two servers, started at once, since most of a start is waiting for one core."""
    kinds, base = {"llama": tiny_llama.make, "falcon": tiny_falcon.make}, _port_base()
    with ExitStack() as running, ThreadPoolExecutor(len(kinds)) as pool:
        starting = {}
        for place, (kind, make) in enumerate(kinds.items()):
            make(model := tmp_path_factory.mktemp(kind))
            starting[kind] = pool.submit(running.enter_context, served(model, base - 2 - place))
        yield {kind: server.result() for kind, server in starting.items()}


@pytest.fixture(scope="session")
def falcon(servers: Mapping[str, str]) -> str:
    """The address of the server that runs a Falcon."""
    return servers["falcon"]


@pytest.fixture(scope="session")
def faults(servers: Mapping[str, str]) -> Iterator[Faults]:
    """The proxy, before the server that runs a Llama."""
    with Faults(_port_base() - 1, _port_base() - 2) as proxy:
        yield proxy


@pytest.fixture
def endpoint(faults: Faults) -> Faults:
    """The proxy with nothing planned."""
    faults.plan()
    return faults


@pytest.fixture(scope="session")
def system(faults: Faults) -> Iterator[System]:
    """Servers, workers and gateway, which know the proxy as their language model."""
    lead = {"name": MODEL, "model": MODEL, "url": faults.url, "api_key": KEY}
    new = lead | {"name": NEW, "provider": "anthropic", "fallback": False}  # the same model, by the other protocol
    settings = {
        "FRESHET_LLM_ENDPOINTS": json.dumps([lead, new]),
        "FRESHET_LLM_MAX_TOKENS": "64",
        "FRESHET_QUERIES_MIN_SCORE": "0",
    }
    with (
        own_stack("vllm", str(_port_base()), settings) as stack,
        httpx.Client(base_url=stack.door, timeout=60) as http,
    ):
        yield System(stack, Settings.from_env(stack.environment), http)
