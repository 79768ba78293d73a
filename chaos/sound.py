"""Histories of runs in which every promise was kept, thought up from a seed: what no checker may find fault with.

A model of the system decides what is there at each moment; whatever is asked is answered from that.  Under a fault,
and until all is normal again, what may fail does: questions, jobs, probes, and the look at the lag.
"""

import math
import random
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from chaos.checkers.bounds import SOAK, Bounds
from chaos.checks import Edge
from chaos.documents import Author, Revision
from chaos.history import Delivery, History, Letter, Poison, Probe, Read, Sample, Window, Write
from chaos.jobs import Event, Job

BEGAN = 1000.0
TAIL = 10.0  # seconds without traffic at the end
TTL = 5.0
DOC_IDS = [f"sound/{number}" for number in range(6)]
DELETED, RESTRICTED, PUBLIC = DOC_IDS[:3]  # what becomes of them at last
PRINCIPALS = ["ann", "bob"]
LANES = ("chunk", "embed", "index", "deliver")
PROGRAMS = ("gateway", *LANES)
FAULTS = ("kill-9:embed", "latency:redis-state", "kill-9:gateway", "restart:kafka")
DEADLINE = 20.0
OF_NO_RECORD = ("accepted", "restarted")  # events that have no place in the log
EDGE = Edge(purge=4.0, max_age=3.0)
CAMPAIGN = replace(Bounds(), ttl=TTL, edge=EDGE)
CALM = replace(SOAK, ttl=TTL, edge=EDGE)


def sound(seed: int, seconds: float = 100.0, faults: int = 3) -> History:
    """One run.  Faults come in its first half, so that there is calm before them and after."""
    scene = _Scene(random.Random(seed), History(seed, BEGAN, BEGAN + seconds))
    scene.break_things(faults)
    scene.write(seed)
    scene.read()
    scene.probe()
    scene.ask()
    scene.refuse()
    scene.sample()
    return scene.history


@dataclass
class _Scene:
    draw: random.Random
    history: History
    unwell: list[tuple[float, float]] = field(default_factory=list)
    states: dict[str, list[tuple[float, Revision]]] = field(default_factory=lambda: {d: [] for d in DOC_IDS})

    @property
    def until(self) -> float:
        """The end of the traffic."""
        return self.history.ended - TAIL

    @property
    def stretch(self) -> float:
        """However long a run is, as many changes and reads: judging them takes longer than thinking them up."""
        return (self.history.ended - BEGAN) / 100

    def well(self, since: float, until: float) -> bool:
        return not any(began <= until and since <= over for began, over in self.unwell)

    def break_things(self, faults: int) -> None:
        every = (self.history.ended - BEGAN - TAIL) / 2 / max(1, faults)
        for number in range(faults):
            began = BEGAN + 8 + number * every
            healed = began + self.draw.uniform(1.0, 4.0)
            self.history.windows.append(Window(FAULTS[number % len(FAULTS)], began, began + 0.2, healed - 0.5, healed))
            self.unwell.append((began, healed + self.draw.uniform(0.5, 3.0)))

    def write(self, seed: int) -> None:
        """Revisions of all documents, then the three that some mutations need."""
        author, at, missing = Author(seed, DOC_IDS, PRINCIPALS), BEGAN, set(DOC_IDS)
        while at < self.until - 4 * self.stretch or missing:
            revision = author.next()
            missing.discard(revision.doc_id)
            at = self._publish(revision, at)
        for doc_id, access in ((DELETED, ()), (RESTRICTED, ("ann",)), (PUBLIC, ())):
            for words in (("first", "second"), () if doc_id == DELETED else ("first", "third")):
                number = self.states[doc_id][-1][1].number + 1
                at = self._publish(Revision(doc_id, number, words, access if words[-1:] == ("third",) else ()), at)

    def _publish(self, revision: Revision, at: float) -> float:
        at = max(at, self._free(revision.doc_id))
        took = self.draw.uniform(0.1, 0.5)
        over = [over for began, over in self.unwell if began <= at + took and at <= over]
        visible = max([at, *over]) + took
        number = len(self.history.writes)
        self.history.writes.append(Write(revision, at, "ok", f"1.0.{number}", at + 0.01, visible, status="indexed"))
        self.states[revision.doc_id].append((visible - took / 2, revision))
        return at + self.draw.uniform(0.05, 0.3) * self.stretch

    def _free(self, doc_id: str) -> float:
        mine = (w.visible for w in self.history.writes if w.revision.doc_id == doc_id and w.visible is not None)
        return max(mine, default=0.0) + 0.01

    def _there(self, doc_id: str, moment: float) -> list[Revision]:
        """What was visible until then, the current one last."""
        return [revision for at, revision in self.states[doc_id] if at <= moment]

    def read(self) -> None:
        """Questions about one document, some with its newest token, some answered from a cache or an edge's copy."""
        at = BEGAN
        while (at := at + self.draw.uniform(0.1, 0.4) * self.stretch) < self.until:
            read = Read(self.draw.choice(DOC_IDS), self.draw.choice(["", *PRINCIPALS]), at)
            self.history.reads.append(read)
            read.ended = at + self.draw.uniform(0.01, 0.3)
            moment = self.draw.uniform(at, read.ended)
            kind = self.draw.random()
            known = [w for w in self.history.writes if w.revision.doc_id == read.doc_id and (w.acknowledged or 0) < at]
            if kind < 0.15 and known:
                read.at_least = known[-1].token
                read.ended = moment = max(read.ended, known[-1].visible or 0)
            read.cached = 0.6 < kind < 0.9
            if kind >= 0.9 and not read.principal:
                read.edge, moment = "hit", max(BEGAN, at - self.draw.uniform(0, EDGE.max_age))
            if not self.well(at, read.ended) and self.draw.random() < 0.3:
                read.result, read.error = "failed", "503"
                continue
            read.result = "ok"
            there = self._there(read.doc_id, moment)
            newest = max((flip for flip, _ in self.states[read.doc_id] if flip <= moment), default=0.0)
            if (
                (read.cached or read.edge)
                and len(there) > 1
                and newest > at - TTL
                and not there[-2].shown_to(read.principal)
            ):
                continue  # an entry of before it could be seen
            if there and there[-1].shown_to(read.principal):
                read.passages = passages_of(there[-1])

    def probe(self) -> None:
        """Two a second: none is normal while a fault is felt."""
        for number in range(round(2 * (self.until - BEGAN))):
            probe = Probe(BEGAN + number / 2, self.draw.uniform(0.02, 0.2), fresh=self.draw.uniform(0.2, 1.0))
            self.history.probes.append(probe)
            if any(began <= probe.at <= over for began, over in self.unwell):
                self.draw.choice((_fail, _degrade, _lose_sight))(probe)

    def ask(self) -> None:
        """Jobs, half of which name a webhook."""
        at, number = BEGAN, 0
        while (at := at + self.draw.uniform(0.8, 1.6) * self.stretch) < self.until:
            number += 1
            job = story(number, at, restarted=self.draw.random() < 0.2, found=self.draw.random() > 0.1)
            job.webhook = "wh_1" if number % 2 else ""
            self.history.jobs.append(job)
            if not self.well(at, at):
                self.draw.choice((_expire, _step_down, _never_take, lambda _: None))(job)
            if job.webhook and job.final is not None:
                self._tell(job, job.final.at)

    def _tell(self, job: Job, at: float) -> None:
        answers = [*[self.draw.choice((500, 0)) for _ in range(self.draw.randint(0, 2))], 204]
        for place, answered in enumerate([*answers, *answers[-1:] * self.draw.randint(0, 1)]):
            told = Delivery(str(job.id), f"msg_{job.id}", at + 0.1 + place, answered, "job.ended", f"body of {job.id}")
            self.history.deliveries.append(told)

    def refuse(self) -> None:
        """Poison, and the letters that it must become."""
        for number in range(2):
            poison = Poison(f"poison/{number}", "not UTF-8", BEGAN + 5 + number)
            self.history.poisons.append(poison)
            self.history.letters.append(Letter("dead", 0, number, "text: it is not UTF-8 at byte 7", poison.key))

    def sample(self) -> None:
        """Once a second: work waits while there is traffic, more of it under a fault; processes fill what they need."""
        pids, fresh = dict(zip(PROGRAMS, count(100), strict=False)), dict.fromkeys(PROGRAMS, BEGAN - 5.0)
        for number in range(round(self.history.ended - BEGAN) + 1):
            at = BEGAN + number
            for place, window in enumerate(self.history.windows):
                kind, _, target = window.fault.partition(":")
                if kind == "kill-9" and at - 1 < window.began <= at:
                    pids[target], fresh[target] = 1000 + place, at
            lag = dict.fromkeys(LANES, 0)
            if at < self.until + 3:
                lag = {lane: self.draw.randint(0, 3 if self.well(at, at) else 60) for lane in LANES}
            if not self.well(at, at) and self.draw.random() < 0.1:
                lag = {}
            memory = {name: self._size(at - fresh[name]) for name in PROGRAMS}
            self.history.samples.append(Sample(at, lag, memory, dict(pids), self.well(at, at)))

    def _size(self, age: float) -> int:
        return round(200e6 * (1.1 - 0.3 * math.exp(-age / 3)) * self.draw.uniform(0.99, 1.01))


def passages_of(revision: Revision) -> list[tuple[str, str]]:
    """All of it, as a question shows it."""
    return [(revision.title, part) for part in revision.text.split("\n\n## ")]


def story(number: int, sent: float, *, restarted: bool = False, found: bool = True) -> Job:
    """A job that went well, though its worker may have died on the way."""
    pieces = ["w0 w1 w2", " w3 w4 w5", " w6 w7 [1]"] if found else ["Not found in the documents."]
    work: list[tuple[str, dict[str, Any]]] = [("generating", {"model": "paced"})]
    work += [("token", {"text": piece}) for piece in pieces]
    told: list[tuple[str, dict[str, Any]]] = [("accepted", {}), ("retrieving", {}), ("passages", {})]
    told += [*work[:-1], ("restarted", {"attempt": "b"})] if restarted else []
    told += [*work, ("answer", {"text": "".join(pieces), "model": "paced", "rung": 0, "found": found})]
    events = [
        Event(sent + 0.2 + 0.1 * place, 0, name, None if name in OF_NO_RECORD else 100 * number + place, data)
        for place, (name, data) in enumerate(told)
    ]
    id_ = f"job{number}"
    return Job("campaign", sent, DEADLINE, 1, 0, id_, sent + 0.1, None, events, f"key{number}", [id_])


def _fail(probe: Probe) -> None:
    probe.took, probe.error = None, "503"


def _degrade(probe: Probe) -> None:
    probe.degraded = ["vectors-unavailable"]


def _lose_sight(probe: Probe) -> None:
    probe.fresh = None


def _expire(job: Job) -> None:
    job.events[-1] = replace(job.events[-1], type="error", data={"reason": "expired"}, at=job.sent + DEADLINE + 4)


def _step_down(job: Job) -> None:
    job.events[-1].data.update(model="extractive", rung=1, degraded=["model-0:overloaded"])


def _never_take(job: Job) -> None:
    job.id, job.taken, job.events, job.ids = None, None, [], []
