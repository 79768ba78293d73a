"""One broker of three and one store of three die under load: nothing acknowledged is lost, and no question fails.

Documents by HTTP and Kafka, questions beside them, on a stack of its own.  Killed with -9, held down, started again:
the broker that leads most of our partitions, the store that writers talk to, another store.  Judged from what was
recorded: what became of every document, every question, and whether all copies are equal again.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Table

from chaos.checks import judge
from chaos.documents import Author
from chaos.doors import kafka_door
from chaos.history import History, Violation
from chaos.pages import Editor, questions_of, repository_pages
from chaos.questions import Asked, Asker
from chaos.traffic import Traffic
from deploy.local.copies import BROKERS, STORES
from deploy.local.own_stack import OwnStack, own_stack, process_environment
from deploy.local.programs import ROOT
from runtime.brokers import librdkafka_options
from runtime.settings import Settings

PORT_BASE = "19500"
SYNC_SECONDS = 120.0  # from the start of a server to equal copies
SLOW_SECONDS = 1.0  # an answer that took longer is not a normal one
TENANT = "default-0"
_ANSWERS = re.compile(r'^freshet_store_answers_total\{node="([^"]+)"\} (\S+)$', re.MULTILINE)
console = Console(highlight=False)


@dataclass
class Phase:
    """From one kill to the next, on the history's clock.  ``answers``: of each store, while the victim lay."""

    victim: str
    killed: float
    started: float = 0.0
    synced: float | None = None
    ended: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """Everything of one run; the first phase kills nobody."""

    phases: list[Phase]
    asked: list[Asked]
    history: History
    audited: int = 0

    def of(self, phase: Phase) -> list[Asked]:
        """Questions that were due in it."""
        return [asked for asked in self.asked if phase.killed <= asked.due < phase.ended]

    def normal_after(self, phase: Phase) -> float:
        """Seconds from the kill to the end of the last answer that was not whole, or slow."""
        odd = [a for a in self.of(phase) if a.error is not None or a.degraded or a.took > SLOW_SECONDS]
        return max((asked.due + asked.took - phase.killed for asked in odd), default=0.0)

    def freshness(self, phase: Phase) -> list[float]:
        """Seconds from the log to the outcome, of the documents that it acknowledged in this phase."""
        return sorted(
            write.visible - write.acknowledged
            for write in self.history.writes
            if write.acknowledged and write.visible and phase.killed <= write.acknowledged < phase.ended
        )


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every promise held, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos three", description=__doc__)
    parser.add_argument("--hold", type=float, default=30, help="seconds that a killed server lies (default 30)")
    parser.add_argument("--calm", type=float, default=15, help="seconds before the first kill (default 15)")
    parser.add_argument("--rate", type=float, default=5, help="questions a second (default 5)")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two documents (default 0.3)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "three")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    settings = {"FRESHET_PREFIX": f"three{options.seed:x}", BROKERS: "3", STORES: "3"}
    with own_stack("three", os.environ.get("FRESHET_PORT_BASE", PORT_BASE), settings) as stack:
        found = asyncio.run(Three(stack, options).drive())
        command, environment = [sys.executable, "-m", "cli", "audit"], process_environment(stack.environment)
        found.audited = subprocess.run(command, cwd=ROOT, env=environment, timeout=300).returncode
    found.history.save(options.out)
    violations, broken = judge(found.history), promises(found)
    _report(found, violations, broken, options.out)
    return 1 if violations or broken else 0


class Three:
    """A run on one stack."""

    def __init__(self, stack: OwnStack, options: argparse.Namespace) -> None:
        self._stack, self._options = stack, options
        self._settings = Settings.from_env(stack.environment)
        self._admin = AdminClient({**librdkafka_options(self._settings.kafka), "log_level": 2})
        self._stores = [each.url for each in self._settings.weaviate.each]

    async def drive(self) -> Run:
        """Traffic from beginning to end, and the kills one after the other."""
        options, history, stop = self._options, History(), asyncio.Event()
        author = Author(options.seed, [f"statements/{n}" for n in range(12)], ["ann", "bob"])
        pages = repository_pages()[:24]
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(httpx.AsyncClient(base_url=self._stack.door, timeout=15))
            door = await opened.enter_async_context(kafka_door(self._settings))
            await Editor(http, pages).publish_all()
            traffic = Traffic(http, history, author, options.seed, kafka=door)
            asker = Asker(http, questions_of(pages), options.rate)
            work = [asyncio.create_task(traffic.write(stop, options.pause)), asyncio.create_task(asker.run(stop))]
            work += [asyncio.create_task(traffic.read(stop, 0.3))]
            calm = Phase("nobody", history.now())
            await asyncio.sleep(options.calm)
            calm.ended = calm.started = history.now()
            victims = (self._leader, lambda: "weaviate-1", lambda: "weaviate-2")
            phases = [calm, *[await self._kill(victim) for victim in victims]]
            stop.set()
            await asyncio.gather(*work)
            await traffic.settle()
        return Run(phases, asker.asked, history)

    async def _kill(self, choose: Callable[[], str]) -> Phase:
        victim = await asyncio.to_thread(choose)
        before = await self._answers()
        phase = Phase(victim, History.now())
        await asyncio.to_thread(self._stack.cut, victim)
        console.print(f"killed {victim}")
        await asyncio.sleep(self._options.hold)
        phase.answers = dict(await self._answers() - before)
        phase.started = History.now()
        await asyncio.to_thread(self._stack.start, victim)
        while History.now() < phase.started + SYNC_SECONDS:
            if (lacks := await asyncio.to_thread(self._out_of_sync)) is None:
                phase.synced = History.now()
                break
            await asyncio.sleep(1)
        console.print(f"{victim} is back: {'all copies are equal' if phase.synced else lacks}")
        await asyncio.sleep(self._options.calm / 3)
        phase.ended = History.now()
        return phase

    def _leader(self) -> str:
        """The broker that leads most partitions of ours."""
        topics = self._admin.list_topics(timeout=10).topics
        ours = [topic for name, topic in topics.items() if name.startswith(self._settings.kafka.prefix)]
        leaders = Counter(partition.leader for topic in ours for partition in topic.partitions.values())
        return f"kafka-{leaders.most_common(1)[0][0]}"

    def _out_of_sync(self) -> str | None:
        """What is not as it should be, None when all copies are equal."""
        for name, topic in self._admin.list_topics(timeout=10).topics.items():
            for number, partition in topic.partitions.items():
                if len(partition.isrs) < len(partition.replicas):
                    return f"{name} [{number}] is in sync at {partition.isrs} of {partition.replicas}"
        counts = []
        for url in self._stores:
            try:
                nodes = httpx.get(f"{url}/v1/nodes", timeout=5).json()["nodes"]
                if sum(node["status"] == "HEALTHY" for node in nodes) < len(self._stores):
                    return f"{url} sees {[(node['name'], node['status']) for node in nodes]}"
                counts.append(_objects(url, f"Chunks_0{self._settings.kafka.prefix}_"))
            except (httpx.HTTPError, StopIteration, KeyError, TypeError, ValueError) as error:
                return f"{url}: {error!r}"
        return None if max(counts) - min(counts) <= 8 else f"objects: {counts}"  # of what is written right now

    async def _answers(self) -> Counter[str]:
        """How many calls each store has answered to the worker that searches."""
        async with httpx.AsyncClient(timeout=5) as http:
            text = (await http.get(self._stack.metrics("retrieve"))).text
        return Counter({node: round(float(count)) for node, count in _ANSWERS.findall(text)})


def _objects(url: str, collection: str) -> int:
    """How many objects a store has in its own copy of the collection whose name begins so."""
    classes = httpx.get(f"{url}/v1/schema", timeout=5).json()["classes"]
    name = next(each["class"] for each in classes if each["class"].startswith(collection))
    query = f'{{Aggregate{{{name}(tenant:"{TENANT}"){{meta{{count}}}}}}}}'
    told = httpx.post(f"{url}/v1/graphql", json={"query": query}, timeout=5).json()
    return int(told["data"]["Aggregate"][name][0]["meta"]["count"])


def promises(found: Run) -> list[str]:
    """What was promised and not kept, beside what the history's checker says."""
    broken = []
    if failed := [asked for asked in found.asked if asked.error is not None]:
        broken.append(f"{len(failed)} questions failed, the first with {failed[0].error}")
    if unread := [read for read in found.history.reads if read.result != "ok"]:
        broken.append(f"{len(unread)} reads failed, the first with {unread[0].error}")
    broken += [f"{p.victim}: copies were not equal again" for p in found.phases[1:] if p.synced is None]
    broken += ["the audit found something"] * bool(found.audited)
    for phase in found.phases:
        if phase.victim.startswith("weaviate") and sum(count > 0 for count in phase.answers.values()) < 2:
            broken.append(f"{phase.victim}: answers came from {phase.answers} while it lay")
    return broken


def _report(found: Run, violations: Sequence[Violation], broken: Sequence[str], out: Path) -> None:
    table = Table(
        "killed", "questions", "failed", "degraded", "slowest", "normal after", "documents", "median fresh",
        "slowest fresh", "in sync after", "answers while it lay",
    )  # fmt: skip
    rows = []
    for phase in found.phases:
        asked, fresh = found.of(phase), found.freshness(phase)
        rows.append(
            {
                "killed": phase.victim,
                "questions": len(asked),
                "failed": sum(one.error is not None for one in asked),
                "degraded": dict(Counter(label for one in asked for label in one.degraded)),
                "slowest_s": round(max((one.took for one in asked), default=0), 2),
                "normal_after_s": round(found.normal_after(phase), 1),
                "documents": len(fresh),
                "median_fresh_s": round(fresh[len(fresh) // 2], 2) if fresh else None,
                "slowest_fresh_s": round(fresh[-1], 1) if fresh else None,
                "in_sync_after_s": round(phase.synced - phase.started, 1) if phase.synced else None,
                "answers": phase.answers,
            }
        )
        table.add_row(*(str(value) for value in rows[-1].values()))
    console.print(table)
    acknowledged = sum(write.acknowledged is not None for write in found.history.writes)
    kinds = Counter(violation.kind for violation in violations)
    console.print(f"documents acknowledged {acknowledged}, lost {kinds['lost']}; violations {dict(kinds)}")
    for text in [*broken, *(f"{each.kind}: {each}" for each in violations[:10])]:
        console.print(f"  [red]broken[/red] {text}", soft_wrap=True)
    summary = {
        "phases": rows,
        "acknowledged": acknowledged,
        "violations": dict(kinds),
        "broken": list(broken),
        "questions": [asdict(asked) for asked in found.asked],
    }
    (out / "report.json").write_text(json.dumps(summary, indent=1))
    console.print(f"history: {out}")
