"""A thousand answers told to an endpoint that fails half of the time, while workers are killed: each arrives.

On a stack of its own, through the public door: questions that name a webhook, an endpoint that answers 500 and 503,
resets connections or says nothing at all, and `notify` and `deliver` killed by SIGKILL again and again.  Judged from
what the endpoint itself has recorded: every job that was accepted was told and taken, whatever came more than once had
the same id and the same body, and everything that arrived was signed.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from chaos.checkers.webhooks import told_wrongly
from chaos.history import Delivery
from chaos.receiver import Answered, Arrival, Receiver, listening
from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.programs import ROOT

PORT_BASE = "18900"
TIMEOUT = 1.0  # of a delivery, seconds
RETRIES = ",".join(["0.3", "0.6", *["1"] * 28])  # half of all tries fail: thirty in a row do once in a thousand million
KILLED = ("notify", "deliver", "notify")
PATIENCE = 180.0  # seconds without anything new before it is given up
ASKING = 16  # questions under way at once
WORDS = {
    "untold": "{} jobs were never told, the first is {}",
    "stranger": "{} messages are about no job that was accepted, the first is {}",
    "ids": "{} jobs were told under more than one id, the first is {}",
    "one-id": "{} ids are shared by jobs, the first is {}",
    "changed": "{} messages changed between tries, the first is {}",
    "unsigned": "{} requests had no signature that verifies, the first is {}",
}
_STATUS: dict[Answered, int] = {"taken": 204, "500": 500, "503": 503, "reset": 0, "nothing": 0}
console = Console(highlight=False)


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when each was delivered as it should be, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos webhooks", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--failing", type=float, default=0.5, help="share of requests that fail (default 0.5)")
    parser.add_argument("--kills", type=int, default=6, help="workers killed meanwhile (default 6)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "webhooks")
    options = parser.parse_args(arguments)
    console.print(f"seed {options.seed}")
    settings = {
        "FRESHET_PREFIX": f"w{int(time.time()):x}",
        "FRESHET_WEBHOOK_ALLOW": "127.0.0.1",
        "FRESHET_WEBHOOK_TIMEOUT": str(TIMEOUT),
        "FRESHET_WEBHOOK_RETRIES": RETRIES,
    }
    receiver = Receiver(options.seed, options.failing, TIMEOUT * 3)
    with own_stack("chaos", os.environ.get("FRESHET_PORT_BASE", PORT_BASE), settings) as stack:
        accepted, states = asyncio.run(_drive(stack, receiver, options))
    options.out.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(arrival)) + "\n" for arrival in receiver.arrivals)
    (options.out / "arrivals.jsonl").write_text("".join(lines))
    (options.out / "accepted.json").write_text(json.dumps(accepted))
    broken = promises(accepted, receiver.arrivals, states)
    _report(accepted, receiver.arrivals, states, broken)
    console.print(f"history: {options.out}")
    return 1 if broken else 0


async def _drive(stack: OwnStack, receiver: Receiver, options: argparse.Namespace) -> tuple[list[str], Counter[str]]:
    """Ask, kill, and wait until nothing is missing; accepted jobs, and deliveries by state as the gateway tells it."""
    async with listening(receiver) as url, httpx.AsyncClient(base_url=stack.door, timeout=30) as http:
        made = (await http.post("/v1/webhooks", json={"url": url})).raise_for_status().json()
        receiver.secret = made["secret"]
        accepted: list[str] = []
        killing = asyncio.create_task(_kill(stack, options))
        with Progress(console=console) as progress:
            bar = progress.add_task("told and taken", total=options.deliveries)
            asking = asyncio.create_task(_ask(http, made["id"], options.deliveries, accepted))
            news, newest = time.monotonic(), 0
            while time.monotonic() - news < PATIENCE:
                taken = len({a.job_id for a in receiver.arrivals if a.answered == "taken"})
                progress.update(bar, completed=taken)
                if len(receiver.arrivals) > newest:
                    news, newest = time.monotonic(), len(receiver.arrivals)
                if asking.done() and killing.done() and taken >= len(accepted):
                    break
                await asyncio.sleep(0.2)
            await asyncio.gather(asking, killing)
        return accepted, await _states(http, made["id"])


async def _ask(http: httpx.AsyncClient, webhook: str, count: int, accepted: list[str]) -> None:
    """Questions that nobody waits for."""
    places = asyncio.Semaphore(ASKING)

    async def ask(number: int) -> None:
        async with places:
            body = {"question": f"What is known of matter {number}?", "webhook": webhook, "timeout": 300}
            while True:
                answer = await http.post("/v1/queries", json=body)
                if answer.status_code == 202:
                    accepted.append(answer.json()["job_id"])
                    return
                if answer.status_code not in (429, 503):
                    raise RuntimeError(f"a question was answered {answer.status_code}: {answer.text[:300]}")
                await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

    await asyncio.gather(*(ask(number) for number in range(count)))


async def _kill(stack: OwnStack, options: argparse.Namespace) -> None:
    draw = random.Random(options.seed)
    for number in range(options.kills):
        await asyncio.sleep(draw.uniform(3, 8))
        name = KILLED[number % len(KILLED)]
        if stack.pid(name):
            stack.send(name)
            console.print(f"killed {name}")


async def _states(http: httpx.AsyncClient, webhook: str) -> Counter[str]:
    """Deliveries by state, once all that was taken is written down as well: a killed worker's are made once more."""
    until = time.monotonic() + PATIENCE
    while True:
        found = (await http.get(f"/v1/webhooks/{webhook}")).raise_for_status().json()
        if not found["waiting"] or time.monotonic() > until:
            break
        await asyncio.sleep(0.5)
    counts: Counter[str] = Counter(dropped=found["dropped"])
    query = {"limit": "100"}
    while True:
        page = (await http.get(f"/v1/webhooks/{webhook}/deliveries", params=query)).raise_for_status().json()
        counts.update(each["state"] for each in page["deliveries"])
        if page["next"] is None:
            return counts
        query["before"] = page["next"]


def promises(accepted: Sequence[str], arrivals: Sequence[Arrival], states: Counter[str]) -> list[str]:
    """What was promised and not kept."""
    told = [Delivery(a.job_id, a.message_id, a.at, _STATUS[a.answered], a.kind, a.body, a.verified) for a in arrivals]
    kinds: dict[str, list[str]] = defaultdict(list)
    for violation in told_wrongly(accepted, told):
        kinds[violation.kind].append(violation.subject)
    broken = [WORDS[kind].format(len(who), min(who)) for kind, who in kinds.items()]
    if left := {state: count for state, count in states.items() if count and state != "delivered"}:
        broken.append(f"the delivery log says {left}")
    return broken


def _report(accepted: Sequence[str], arrivals: Sequence[Arrival], states: Counter[str], broken: Sequence[str]) -> None:
    table, answered = Table("what", "count"), Counter(arrival.answered for arrival in arrivals)
    table.add_row("jobs accepted", str(len(accepted)))
    table.add_row("requests that arrived", str(len(arrivals)))
    for name, count in sorted(answered.items()):
        table.add_row(f"answered: {name}", str(count))
    table.add_row("jobs told and taken", str(len({a.job_id for a in arrivals if a.answered == "taken"})))
    again = sum(count - 1 for count in Counter(a.job_id for a in arrivals if a.answered == "taken").values())
    table.add_row("taken more than once (same id)", str(again))
    table.add_row("requests whose signature verified", str(sum(a.verified for a in arrivals)))
    for state, count in sorted(states.items()):
        table.add_row(f"delivery log: {state}", str(count))
    console.print(table)
    for text in broken:
        console.print(f"  [red]broken[/red] {text}")
