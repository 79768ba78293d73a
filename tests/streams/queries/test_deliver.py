"""What became of jobs is kept as followers see it, and whoever is to be told is told."""

from collections.abc import Sequence

import pytest

from connectors.job_ports import JobRef, StoredJob
from connectors.memory.deliveries import MemoryDeliveries
from connectors.memory.jobs import MemoryJobs
from gateway.attempts import Attempts
from runtime.clock import SystemClock
from streams.outcome import Emit, Output, Record, Refuse, Stage
from streams.queries.deliver import Deliver, passed_by
from streams.queries.events import Teller
from streams.runner import Runner
from tests.streams.memory_stream import MemoryTopics, run_dry
from topics import registry
from topics.codec import decode
from topics.headers import Hop
from topics.identity import mint_job_id
from topics.queries import AnswerEvent, StageName

HOP = Hop(job_id=mint_job_id(1), deadline=99, reply_partition=1, tenant="acme", principals=["ann"])
REF = JobRef("acme", HOP.job_id)


def attempt(stage: StageName, hop: Hop = HOP) -> Teller:
    return Teller(hop, stage, SystemClock())


def records(*outputs: Output, first: int = 0) -> list[Record]:
    """Outputs as they lie in the log."""
    return [
        Record("answers", o.partition, first + n, o.key, o.value, dict(o.headers), 0) for n, o in enumerate(outputs)
    ]


def story() -> list[Output]:
    """A job that went well."""
    retrieve, generate = attempt("retrieve"), attempt("generate")
    return [
        retrieve.event("retrieving"),
        retrieve.event("passages", {"passages": [{"doc_id": "d"}]}),
        generate.event("generating", {"model": "m"}),
        generate.event("token", {"text": "All is "}),
        generate.event("token", {"text": "well."}),
        generate.event("answer", {"text": "All is well."}),
    ]


class Ears:
    """Notes who was told, and has something to say."""

    def __init__(self) -> None:
        self.heard: list[StoredJob] = []

    async def __call__(self, job: StoredJob) -> Sequence[Output]:
        self.heard.append(job)
        return [Output(registry.CONTROL, job.ref.job_id.encode(), job.state.encode(), 0)]


async def stored(jobs: MemoryJobs) -> StoredJob:
    [job] = await jobs.read([REF])
    assert job is not None
    return job


@pytest.fixture
def jobs() -> MemoryJobs:
    return MemoryJobs()


async def test_a_job_is_kept(jobs: MemoryJobs) -> None:
    """State, passages, answer, and where they lie, whether the events come in one batch or one by one."""
    for size in (1, 2, 9):
        store, told = MemoryJobs(), [r for r in records(*story()) if not passed_by(r.headers)]
        deliver = Deliver(store)
        states = []
        for begin in range(0, len(told), size):
            await deliver.step(told[begin : begin + size])
            states.append((await stored(store)).state)
        job = await stored(store)
        assert (job.state, job.deadline, job.principals) == ("done", 99, ["ann"])
        assert (job.passages, job.passages_offset) == ([{"doc_id": "d"}], 1)
        assert job.data == {"text": "All is well."}
        assert job.final is not None and (job.final.type, job.final.offset, job.final.seq) == ("answer", 5, 3)
        if size == 1:
            assert states == ["retrieving", "retrieving", "generating", "done"]


@pytest.mark.parametrize(
    ("reason", "state"), [("unavailable", "failed"), ("expired", "expired"), ("cancelled", "cancelled")]
)
async def test_errors_end_a_job(jobs: MemoryJobs, reason: str, state: str) -> None:
    """An error is the end, under the name that its reason has."""
    await Deliver(jobs).step(records(attempt("retrieve").error(reason, "why")))
    job = await stored(jobs)
    assert (job.state, job.data) == (state, {"reason": reason, "message": "why"})


async def test_what_followers_do_not_see_does_not_count(jobs: MemoryJobs) -> None:
    """Whichever attempts interleave, the end that is kept is the one that followers are told."""
    one, other, again = attempt("generate"), attempt("generate"), attempt("retrieve")
    told = records(
        *story()[:2],
        one.event("generating"),
        other.event("generating"),
        one.event("token", {"text": "x"}),
        one.event("answer", {"text": "of the first"}),
        again.error("unavailable", "a retrieval that ran again"),
        other.event("answer", {"text": "of the second"}),
        attempt("generate").error("late", "after the end"),
    )
    followed = Attempts()
    for record in told:
        followed.feed(decode(record.value or b"", AnswerEvent))
    deliver = Deliver(jobs)
    for record in told:
        if not passed_by(record.headers):
            await deliver.step([record])
    assert followed.final is not None
    assert (await stored(jobs)).data == followed.final.data == {"text": "of the second"}


async def test_who_ends_is_told_at_least_once(jobs: MemoryJobs) -> None:
    """After a crash between telling and acknowledging the same end is told again, and no other event is."""
    ears, told = Ears(), [r for r in records(*story()) if not passed_by(r.headers)]
    deliver = Deliver(jobs, [ears])
    first = await deliver.step(told)
    assert [len(o.outputs) for o in first if isinstance(o, Emit)] == [0, 0, 0, 1]
    assert ears.heard[0].data == {"text": "All is well."} and ears.heard[0].ref == REF
    again = await deliver.step([*told, *records(attempt("gateway").error("cancelled", "too late"), first=9)])
    assert [len(o.outputs) for o in again if isinstance(o, Emit)] == [0, 0, 0, 1, 0]
    assert [job.final for job in ears.heard] == [ears.heard[0].final] * 2


async def test_the_unreadable_is_refused(jobs: MemoryJobs) -> None:
    """What is no event, or nobody's, is a dead letter; the others of its batch are taken."""
    good = records(*story())[0]
    bad = [Record("answers", 0, 1, b"k", b"{", good.headers, 0), Record("answers", 0, 2, b"k", good.value, {}, 0)]
    outcomes = await Deliver(jobs).step([bad[0], good, bad[1]])
    assert [type(outcome) for outcome in outcomes] == [Refuse, Emit, Refuse]
    assert (await stored(jobs)).state == "retrieving"


async def test_tokens_cost_nothing(jobs: MemoryJobs) -> None:
    """Tokens, and all of a question for passages, are acknowledged in order without being counted or decoded."""

    class Counting(MemoryDeliveries):
        begun = 0

        async def begin(self, lane: str, places: Sequence[tuple[str, int, int]]) -> list[int]:
            Counting.begun += len(places)
            return await super().begin(lane, places)

    retrieve = attempt("retrieve", Hop(job_id="0" * 36, deadline=1, reply_partition=1, mode="retrieve"))
    told = records(*story(), retrieve.event("retrieving"), retrieve.event("answer", {"retrieval": {}}))
    told.insert(4, Record("answers", 1, 77, b"k", b"not even JSON", told[4].headers, 0))
    deliver, topics = Deliver(jobs), MemoryTopics()
    stage = Stage(
        name="deliver", reads=registry.ANSWERS, batch_step=deliver.step, on_refused=deliver.on_refused, batch=4,
        skips=passed_by,
    )  # fmt: skip
    acked = await run_dry(Runner(stage, topics, Counting(), 4), told)
    assert acked == [record.place for record in told]
    assert Counting.begun == 4 and topics.outputs == []
    assert (await stored(jobs)).state == "done"
    assert await jobs.page("default", None, 9) == ([], None)
