"""The system that a campaign strikes: a stack of its own behind proxies, two gateways, a model that keeps time, a topic
of rows that become documents, and an edge, where this machine has Varnish.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.paced import paced
from chaos import rows
from chaos.checkers import Bounds
from chaos.checks import Edge
from chaos.edge import edge_before
from chaos.faults.site import Site
from chaos.proxies import proxies
from chaos.streams import second_gateway
from deploy.local.copies import BROKERS, STORES
from deploy.local.own_stack import own_stack
from deploy.local.readiness import Tell
from deploy.local.varnish import varnishd
from runtime.settings import Settings

PORT_BASE = "18900"
SECOND, ENDPOINT = 35, 36  # ports from the stack's base
CACHE_TTL = 15
# A copy is never shown for longer than it may live, even if nobody purges it; a clock of whole seconds, and a response
# that was under way, come on top.
COPIES = Edge(purge=12.0, max_age=10.0)
TOKENS, RATE = 40, 40.0  # of an answer, and a second: it takes long enough to be struck in the middle
DELIVERY = 1.0  # seconds that telling an endpoint may take
PROXIED = ("kafka", "weaviate", "weaviate-grpc", "redis-state", "redis-cache")
PROXIED_OF_THREE = ("kafka-1", "kafka-2", "kafka-3", "redis-state", "redis-cache")
THREE = {BROKERS: "3", STORES: "3"}
SETTINGS = {
    "FRESHET_GATEWAY_REPLICAS": "2",
    "FRESHET_POISON_LIMIT": "20",  # workers are killed far more often here than a record may kill them
    "FRESHET_CACHE_TTL": str(CACHE_TTL),
    "FRESHET_QUERIES_MIN_SCORE": "-1",  # whatever is asked has passages, and an answer that streams
    "FRESHET_QUERIES_MIN_WORDS": "0",
    "FRESHET_QUERIES_SEARCH_TIMEOUT": "2",  # all of this shares few cores, and a search that waits has not failed
    "FRESHET_WEBHOOK_KEY": "0" * 64,  # a Redis that is flushed must not take it along
    "FRESHET_WEBHOOK_ALLOW": "127.0.0.1",
    "FRESHET_WEBHOOK_TIMEOUT": str(DELIVERY),
    "FRESHET_WEBHOOK_RETRIES": ",".join(["0.3", "0.6", *["1"] * 58]),
}


@dataclass(frozen=True, slots=True)
class System:
    """It runs.  ``doors`` are its gateways by name, ``edge`` is before the first, empty where there is none."""

    site: Site
    doors: dict[str, str]
    edge: str = ""

    @property
    def table(self) -> str:
        """The topic of the user's own."""
        return rows.topic_of(self.site.settings.kafka.prefix)

    def bounds(self, of: Bounds) -> Bounds:
        """These limits, with what the caches here may do."""
        return replace(of, ttl=CACHE_TTL, edge=COPIES if self.edge else of.edge)


@contextmanager
def system(out: Path, seed: int, tell: Tell, *, three: bool = False) -> Iterator[System]:
    """Bring it up, for as many runs as one likes; ``three`` brokers and stores, which share one machine."""
    base = os.environ.get("FRESHET_PORT_BASE") or PORT_BASE  # make passes on an empty one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is stopped
    with ExitStack() as opened:
        model = int(base) + ENDPOINT
        llm = opened.enter_context(paced(model, "--rate", str(RATE), "--tokens", str(TOKENS)))
        log = out / "toxiproxy.log"
        between = opened.enter_context(
            proxies(int(base), PROXIED_OF_THREE if three else PROXIED, log, f"127.0.0.1:{model}")
        )
        prefix, edge, told = f"c{int(time.time()):x}", "", dict[str, str]()
        if varnishd():
            edge, told = opened.enter_context(edge_before(base, out / "varnish", COPIES))
        else:
            tell("without an edge: Varnish is not installed")
        settings = {"FRESHET_PREFIX": prefix, "FRESHET_SOURCES": rows.sources(prefix), **SETTINGS}
        settings |= {**told, **llm, **between.settings, **(THREE if three else {})}
        stack = opened.enter_context(own_stack("chaos-three" if three else "chaos", base, settings, tell))
        log = stack.state.log("second-gateway")
        second = opened.enter_context(second_gateway(stack, int(base) + SECOND, log))
        site = Site(stack, between, Settings.from_env(stack.environment), seed)
        rows.create(site.admin(), rows.topic_of(prefix), copies=3 if three else 1)
        yield System(site, {"gateway": stack.door, "second-gateway": second}, edge)
