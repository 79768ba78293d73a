"""How the programs are, once a second and from outside: what waits for each lane, and what each process takes."""

import asyncio
import re

import httpx
import psutil

from chaos.history import History, Sample
from deploy.local.own_stack import OwnStack
from deploy.local.supervisor import Supervisor

EVERY = 1.0  # seconds
OURS = ("gateway", "workers")
_QUEUE = re.compile(r'^queue_length\{queue="([\w.-]+)"\} ([\d.e+]+)$', re.MULTILINE)
_AWAY = (httpx.HTTPError, OSError)


async def sample(stack: OwnStack, http: httpx.AsyncClient, history: History, stop: asyncio.Event) -> None:
    """Sample until stopped; a door that says nothing for a second is noted as silent."""
    while not stop.is_set():
        found = Sample(history.now())
        history.samples.append(found)
        await asyncio.gather(_lag(http, found), _ready(http, found), asyncio.to_thread(_processes, stack, found))
        await asyncio.sleep(max(0.0, found.at + EVERY - history.now()))


async def metrics_of(stack: OwnStack, doors: dict[str, str]) -> dict[str, str]:
    """What each program of ours tells of itself; those that are silent are left out."""
    addresses = {name: f"{door}/metrics" for name, door in doors.items()}
    programs = stack.state.plan()["programs"]
    addresses |= {name: stack.metrics(name) for name, plan in programs.items() if plan["group"] == "workers"}
    found = {}
    async with httpx.AsyncClient(timeout=5) as http:
        for name, address in addresses.items():
            try:
                found[name] = (await http.get(address)).text
            except _AWAY:
                continue
    return found


async def _lag(http: httpx.AsyncClient, found: Sample) -> None:
    try:
        text = (await http.get("/metrics", timeout=EVERY)).text
    except _AWAY:
        return
    found.lag = {lane: int(float(length)) for lane, length in _QUEUE.findall(text)}


async def _ready(http: httpx.AsyncClient, found: Sample) -> None:
    try:
        found.ready = (await http.get("/readyz", timeout=EVERY)).status_code == 200
    except _AWAY:
        return


def _processes(stack: OwnStack, found: Sample) -> None:
    supervisor = Supervisor.connect(stack.state)
    for process in supervisor.processes() if supervisor else ():
        if process.pid is None or process.group not in OURS:
            continue
        try:
            found.memory[process.name] = psutil.Process(process.pid).memory_info().rss
            found.pids[process.name] = process.pid
        except psutil.NoSuchProcess:
            continue  # it has just died
