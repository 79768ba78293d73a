"""What can go wrong with a run, done to its history: each function breaks one promise in one that was sound."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chaos.checkers.calm import FOREVER
from chaos.documents import Revision
from chaos.history import Delivery, History, Letter, Read, Write
from chaos.jobs import Event, Job
from chaos.sound import DELETED, PUBLIC, RESTRICTED, passages_of


def at_the_end(history: History, doc_id: str, shown: Revision | None, who: str = "", **of: Any) -> None:
    """Somebody asks when all is quiet, and is shown this revision whole; by whom, say other fields of a read."""
    passages = passages_of(shown) if shown else []
    history.reads.append(Read(doc_id, who, history.ended - 1, history.ended, "ok", passages, **of))


def writes_of(history: History, doc_id: str) -> list[Write]:
    return [write for write in history.writes if write.revision.doc_id == doc_id]


def replaced(history: History, doc_id: str, back: int) -> Revision:
    return writes_of(history, doc_id)[-1 - back].revision


def show(doc_id: str, back: int, who: str = "", **of: Any) -> Callable[[History], None]:
    """One that was replaced so many times is shown at the end."""
    return lambda history: at_the_end(history, doc_id, replaced(history, doc_id, back), who, **of)


def lose_outcome(history: History) -> None:
    writes_of(history, PUBLIC)[-1].visible = None


def longest_read(history: History) -> Read:
    return max(history.reads, key=lambda read: len(read.passages))


def swap_passage(history: History) -> None:
    read = longest_read(history)
    read.passages[0] = passages_of(replaced(history, PUBLIC, 0))[0]


def swap_text(history: History) -> None:
    read = next(r for r in history.reads if r.passages)
    title, text = read.passages[0]
    read.passages[0] = (title, text.replace(" is w", " is x", 1))


def forget_passage(history: History) -> None:
    longest_read(history).passages.pop()


def invent(history: History) -> None:
    at_the_end(history, PUBLIC, Revision(PUBLIC, 9999, ("never", "written")))


def fall_behind(history: History) -> None:
    """Asked for the newest, which is not yet known to be visible, and shown the one before."""
    newest = writes_of(history, PUBLIC)[-1]
    assert newest.acknowledged is not None
    at, shown = newest.acknowledged, passages_of(replaced(history, PUBLIC, 1))
    history.reads.append(Read(PUBLIC, "", at, at + 0.01, "ok", shown, at_least=newest.token))


def last_probe(**changes: object) -> Callable[[History], None]:
    """The last one, long after all faults."""
    return lambda history: history.probes.__setitem__(-1, replace(history.probes[-1], **changes))  # type: ignore[arg-type]


def fail_read(history: History) -> None:
    history.reads[-1].result, history.reads[-1].error = "failed", "500 Internal Server Error"


def quiet_job(history: History) -> Job:
    """One in calm that an answer was found for, whom nobody is told of."""
    return [job for job in history.jobs if not job.webhook and job.final and job.final.data.get("found")][-1]


def quiet_final(history: History) -> Event:
    final = quiet_job(history).final
    assert final is not None
    return final


def token_places(history: History) -> list[int]:
    return [place for place, event in enumerate(quiet_job(history).events) if event.type == "token"]


def interleave(history: History) -> None:
    """A second attempt's words come between those of the first, and nobody is told that it begins again."""
    job, places = quiet_job(history), token_places(history)
    job.events[places[-2] : places[-2]] = [replace(job.events[place], id=None) for place in places[-3:-1]]


def answer_twice(history: History) -> None:
    job = quiet_job(history)
    job.events.append(replace(job.events[-1], at=job.events[-1].at + 1, id=(job.events[-1].id or 0) + 1))


def repeat_token(history: History) -> None:
    place = token_places(history)[-2]
    quiet_job(history).events.insert(place, quiet_job(history).events[place])


def swap_ids(history: History) -> None:
    events, (*_, one, other) = quiet_job(history).events, token_places(history)
    events[one].id, events[other].id = events[other].id, events[one].id


def late(history: History) -> None:
    quiet_final(history).at += 30


def fail_job(history: History) -> None:
    final = quiet_final(history)
    final.type, final.data = "error", {"reason": "unavailable"}


def step_down(history: History, **told: object) -> None:
    quiet_final(history).data.update(model="extractive", **told)


def refuse_job(history: History) -> None:
    job = quiet_job(history)
    job.id, job.taken, job.ids, job.events, job.error = None, None, [], [], "500 Internal Server Error"


def share(history: History) -> None:
    quiet = [job for job in history.jobs if job.id and not job.webhook]
    quiet[0].id = quiet[1].id


def repeated(history: History) -> Delivery:
    """One that came more than once."""
    jobs = [delivery.job_id for delivery in history.deliveries]
    return next(d for d in reversed(history.deliveries) if jobs.count(d.job_id) > 1)


def untold(history: History) -> None:
    job = history.deliveries[0].job_id
    history.deliveries = [delivery for delivery in history.deliveries if delivery.job_id != job]


def never_taken(history: History) -> None:
    job = history.deliveries[0].job_id
    for delivery in history.deliveries:
        delivery.answered = 500 if delivery.job_id == job else delivery.answered


def deliver(**changes: str | bool) -> Callable[[History], None]:
    """A repeat is not what it repeats."""

    def spoil(history: History) -> None:
        one = repeated(history)
        for name, value in changes.items():
            setattr(one, name, value)

    return spoil


def stranger(history: History) -> None:
    for job in [job for job in history.jobs if job.webhook and job.id is None]:
        history.jobs.remove(job)  # it may have been taken in
    history.deliveries.append(replace(history.deliveries[0], job_id="nobody's", webhook_id="msg_nobody"))


def one_id(history: History) -> None:
    jobs = {delivery.job_id: delivery.body for delivery in history.deliveries}
    (one, body), other, *_ = jobs.items()
    for delivery in history.deliveries:
        if delivery.job_id in (one, other[0]):
            delivery.webhook_id, delivery.body = "msg_of_two", body


def unexplained_letter(history: History) -> None:
    history.letters.append(Letter("dead", 1, 0, "12 chunks of earlier parts are missing", PUBLIC))


def freeze_lag(history: History, lane: str = "index") -> None:
    for sample in history.samples:
        if sample.lag and sample.at > history.ended - 9:
            sample.lag[lane] = 7


def drain_slowly(history: History) -> None:
    freeze_lag(history)
    last = history.samples[-1]
    history.samples += [replace(last, at=last.at + second) for second in range(1, 40)]
    history.samples.append(replace(last, at=last.at + 40, lag=dict.fromkeys(last.lag, 0)))
    history.ended = history.samples[-1].at


def lose_lane(history: History) -> None:
    del history.samples[-1].lag["index"]


def never_heal(history: History) -> None:
    history.windows[-1].healed = None


def stay_unwell(history: History, seconds: float = 1000.0) -> None:
    """Every second probe fails, so there is never a run of good ones."""
    healed = history.windows[-1].healed
    assert healed is not None
    for probe in history.probes[::2]:
        if healed <= probe.at <= healed + seconds:
            probe.took, probe.error = None, "503"


def grow(history: History, to: float, program: str = "embed") -> None:
    """The last process of a program grows to so many times its size."""
    pid = history.samples[-1].pids[program]
    mine = [sample for sample in history.samples if sample.pids[program] == pid]
    for place, sample in enumerate(mine):
        sample.memory[program] = round(sample.memory[program] * (1 + (to - 1) * place / len(mine)))


def slow_down(history: History, name: str) -> None:
    for probe in history.probes[-len(history.probes) // 3 :]:
        setattr(probe, name, getattr(probe, name) * 2)


def without(*kinds: str) -> Callable[[History], None]:
    """Nothing of these was written down."""

    def spoil(history: History) -> None:
        for kind in kinds:
            setattr(history, kind, [])

    return spoil


def never_inject(history: History) -> None:
    history.windows[0].injected, history.windows[0].error = None, "the proxy is not there"


def keep(history: History, seen: Callable[[Read], bool]) -> None:
    """Only reads that this is true of."""
    history.reads = [read for read in history.reads if seen(read)]


def never_ask_after(history: History, change: Callable[[Revision], object]) -> None:
    """Nobody asks for a document once a change of this sort was visible."""
    first: dict[str, float] = {}
    for write in history.writes:
        if change(write.revision) and write.visible is not None:
            first.setdefault(write.revision.doc_id, write.visible)
    keep(history, lambda read: read.began <= first.get(read.doc_id, FOREVER))


def uncached(history: History) -> None:
    keep(history, lambda read: not read.cached)


def uncopied(history: History) -> None:
    keep(history, lambda read: not read.edge)


def one_passage(history: History) -> None:
    keep(history, lambda read: len(read.passages) < 2)
    at_the_end(history, DELETED, None)
    at_the_end(history, RESTRICTED, None)
    only = Revision(PUBLIC, 10_000, ("alone",))
    history.writes.append(Write(only, history.ended - 5, "ok", "1.0.999999", history.ended - 5, history.ended - 4))
    at_the_end(history, PUBLIC, only, cached=True)
    at_the_end(history, PUBLIC, only, edge="hit")
