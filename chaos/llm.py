"""Language models that limit, write slowly, break off and fall silent; and what holds jobs killed or taken away.

A steady stream of jobs, each followed to its end over whatever breaks, on a stack of its own with two paced endpoints
and quoting on its ladder.  One phase for each fault; after each the first model must answer again.  Judged from what
clients saw.
"""

import argparse
import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bench.paced import paced
from chaos.jobs import Client, Job
from chaos.pages import Editor, questions_of, repository_pages
from chaos.proxies import Proxies, proxies
from chaos.rungs import QUOTING, Phase, Run, Violation, judge
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18900"
MODELS = ("first", "second")
REDIS = ("redis-state", "redis-cache")
TOKENS, RATE = 60, 40.0  # of an answer, and a second: it takes long enough to be struck in the middle
SILENCE = 3.0  # seconds until an endpoint that says nothing is left
STORM_JOBS = 100
console = Console(highlight=False)


@dataclass(frozen=True)
class Fault:
    """A phase.  ``paces`` are told to the endpoints; ``act`` is done after a quarter of it and undone at its end."""

    name: str
    paces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    act: Callable[["Campaign"], Awaitable[None]] | None = None
    must_meet: str = ""
    rate: float = 1.5  # jobs a second
    least: float = 0.0  # seconds that the phase takes, however short the others are
    models: bool = True


@dataclass
class Campaign:
    """What the phases work with."""

    stack: OwnStack
    between: Proxies
    http: httpx.AsyncClient
    models: Mapping[str, str]  # addresses of the endpoints
    run: Run
    deadline: float
    questions: Iterator[str] = field(default_factory=lambda: iter(()))

    async def pace(self, model: str, **pace: Any) -> None:
        """Tell an endpoint how to answer from now on."""
        (await self.http.post(f"{self.models[model]}/control", json=pace)).raise_for_status()

    async def counted(self) -> Counter[str]:
        """What both endpoints counted so far."""
        told = [(await self.http.get(f"{url}/control")).json()["counts"] for url in self.models.values()]
        return sum((Counter(counts) for counts in told), Counter())

    async def job(self, phase: str) -> Job:
        return await Client(self.http, self.deadline).ask(next(self.questions), phase)


def _kill(name: str) -> Callable[[Campaign], Awaitable[None]]:
    async def act(campaign: Campaign) -> None:
        await asyncio.to_thread(campaign.stack.send, name)

    return act


async def _take_redis_away(campaign: Campaign) -> None:
    await asyncio.to_thread(campaign.between.refuse, *REDIS)


WELL: dict[str, Any] = {"mode": "well", "share": 1.0}
LIMITED = {"first": {"mode": "busy", "retry_after": 2.0}, "second": {"mode": "busy", "share": 0.5, "retry_after": 1.0}}
FAULTS = (
    Fault("none"),
    Fault("storm", LIMITED, must_meet="busy", rate=STORM_JOBS / 60),
    Fault("all-limited", {model: {"mode": "busy", "retry_after": 5.0} for model in MODELS}, must_meet="busy"),
    Fault("slow", {"first": {"mode": "slow"}}, must_meet="slow", rate=0.7),
    Fault("cut", {"first": {"mode": "cut"}, "second": {"mode": "cut", "share": 0.3}}, must_meet="cut"),
    Fault("stall", {"first": {"mode": "stall", "share": 0.5}}, must_meet="stall"),
    Fault("silence", {model: {"mode": "silence"} for model in MODELS}, must_meet="silence"),
    Fault("redis-away", act=_take_redis_away, models=False, least=30),
    Fault("generate-killed", act=_kill("generate"), must_meet="restarted", models=False),
    Fault("gateway-killed", act=_kill("gateway"), must_meet="resumed", models=False),
)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every promise held, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos llm", description=__doc__)
    parser.add_argument("--storm", type=float, default=60, help="seconds of 429 for 100 jobs (default 60)")
    parser.add_argument("--seconds", type=float, default=20, help="of each other phase, at least (default 20)")
    parser.add_argument("--deadline", type=float, default=20, help="of each job, in seconds (default 20)")
    parser.add_argument("--phases", nargs="+", choices=[fault.name for fault in FAULTS], help="only these")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "llm")
    options = parser.parse_args(arguments)
    with _stack(options.out) as (stack, between, models):
        found = asyncio.run(_drive(stack, between, models, options))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "llm.json").write_text(json.dumps(asdict(found)))
    broken = judge(found)
    _report(found, broken, options.out)
    return 1 if broken else 0


@contextmanager
def _stack(out: Path) -> Iterator[tuple[OwnStack, Proxies, Mapping[str, str]]]:
    base = int(os.environ.get("FRESHET_PORT_BASE", PORT_BASE))
    with ExitStack() as opened:
        between = opened.enter_context(proxies(base, REDIS, out / "toxiproxy.log"))
        urls = {}
        for port, name in enumerate(MODELS, base + 95):
            settings = opened.enter_context(paced(port, "--rate", str(RATE), "--tokens", str(TOKENS)))
            urls[name] = settings["FRESHET_LLM_URL"].removesuffix("/v1")
        endpoints = [
            {"name": name, "model": "paced", "url": f"{url}/v1", "first_token_timeout": SILENCE}
            for name, url in urls.items()
        ]
        settings = {"FRESHET_PREFIX": f"m{int(time.time()):x}", **between.settings}
        settings["FRESHET_LLM_ENDPOINTS"] = json.dumps({"endpoints": endpoints})
        yield opened.enter_context(own_stack("chaos", str(base), settings)), between, urls


async def _drive(stack: OwnStack, between: Proxies, models: Mapping[str, str], options: argparse.Namespace) -> Run:
    pages = repository_pages()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=stack.door, timeout=httpx.Timeout(10, read=60), limits=limits) as http:
        await Editor(http, pages).publish_all()
        campaign = Campaign(stack, between, http, models, Run([*MODELS, QUOTING]), options.deadline)
        await _choose(campaign, questions_of(pages))
        for fault in FAULTS:
            if options.phases is None or fault.name in options.phases:
                seconds = options.storm if fault.name == "storm" else options.seconds
                await _phase(campaign, fault, max(seconds, fault.least))
    return campaign.run


async def _choose(campaign: Campaign, questions: Sequence[str]) -> None:
    """Questions that the first model is asked: those for which passages are found."""
    kept = []
    for question in questions[:40]:
        job = await Client(campaign.http, campaign.deadline).ask(question, "choose")
        if job.final is not None and any(event.type == "token" for event in job.events[:-2]):
            kept.append(question)
    if len(kept) < 10:
        raise RuntimeError(f"only {len(kept)} questions are answered by a model")
    campaign.questions = itertools.cycle(kept)


async def _phase(campaign: Campaign, fault: Fault, seconds: float) -> None:
    console.print(f"{fault.name}: {seconds * fault.rate:.0f} jobs in {seconds:g} s")
    before, jobs = await campaign.counted(), []
    for model, pace in fault.paces.items():
        await campaign.pace(model, **{**WELL, **pace})
    phase = Phase(fault.name, time.monotonic(), 0.0, fault.models, fault.must_meet)
    phase.struck, middle = phase.began, fault.act
    for number in range(round(seconds * fault.rate)):
        if middle is not None and number >= seconds * fault.rate / 4:
            await middle(campaign)
            middle, phase.struck = None, time.monotonic()
        jobs.append(asyncio.create_task(campaign.job(fault.name)))
        await asyncio.sleep(max(0.0, phase.began + (number + 1) / fault.rate - time.monotonic()))
    phase.ended = time.monotonic()
    for model in fault.paces:
        await campaign.pace(model, **WELL)
    await asyncio.to_thread(campaign.between.heal)
    phase.back = await _back(campaign, phase.ended)
    done = await asyncio.gather(*jobs)
    phase.met = _met(fault.must_meet, done, await campaign.counted() - before)
    campaign.run.phases.append(phase)
    campaign.run.jobs += done


async def _back(campaign: Campaign, ended: float) -> float | None:
    """Seconds until the first model has answered, unlabelled; None when it did not for long."""
    while (now := time.monotonic()) < ended + 60:
        final = (await campaign.job("back")).final
        if final is not None and final.data.get("model") == MODELS[0] and not final.data.get("degraded"):
            return now - ended
    return None


def _met(what: str, jobs: Sequence[Job], counted: Mapping[str, int]) -> int:
    if what == "restarted":
        return sum(event.type == "restarted" for job in jobs for event in job.events)
    if what == "resumed":
        return sum(any(event.connection for event in job.events) for job in jobs)
    return counted.get(what, 0)


def _report(found: Run, broken: Sequence[Violation], out: Path) -> None:
    told = ("restarted", "resumed", "p50 s", "most s", "back after s")
    table = Table("phase", "held s", "jobs", "answered", *found.ladder, *told)
    for phase in found.phases:
        jobs = found.of(phase.name)
        finals = [job.final for job in jobs if job.final is not None and job.final.type == "answer"]
        rungs = Counter(str(final.data.get("model")) for final in finals)
        times = [job.final.at - job.sent for job in jobs if job.final is not None]
        table.add_row(
            phase.name,
            f"{phase.ended - phase.struck:.0f}",
            str(len(jobs)),
            str(len(finals)),
            *(str(rungs[name]) for name in found.ladder),
            str(sum(any(event.type == "restarted" for event in job.events) for job in jobs)),
            str(_met("resumed", jobs, {})),
            f"{quantiles(times, n=2)[0]:.1f}" if len(times) > 1 else "",
            f"{max(times, default=0):.1f}",
            "never" if phase.back is None else f"{phase.back:.1f}",
        )
    console.print(table)
    for phase in found.phases:
        labels = Counter(
            label for job in found.of(phase.name) if job.final for label in job.final.data.get("degraded", [])
        )
        if labels:
            console.print(f"{phase.name}, labels: {dict(labels)}")
    lost = sum(violation.kind == "lost" for violation in broken)
    console.print(f"jobs {len(found.jobs)}, lost {lost}, promises broken {len(broken)}")
    for violation in broken[:40]:
        console.print(f"  [red]{violation.kind}[/red] {violation.phase}: {violation.detail}")
    console.print(f"history: {out}")
