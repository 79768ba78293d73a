"""What every store of durable jobs must do."""

import asyncio
import time

import msgspec

from connectors.job_ports import MAX_QUESTION, Claim, FinalEvent, JobRef, JobStore, StoredJob
from topics.identity import mint_job_id

FINAL = FinalEvent(type="answer", attempt="g", seq=4, offset=17, at=5)


def job(at: float | None = None, tenant: str = "default", **fields: object) -> StoredJob:
    return StoredJob(ref=JobRef(tenant, mint_job_id(0, at)), deadline=9, **fields)  # type: ignore[arg-type]


class JobContract:
    """Subclasses give a fixture ``jobs``: an open, empty store that keeps five jobs of a tenant."""

    async def test_a_job_from_acceptance_to_its_end(self, jobs: JobStore) -> None:
        """Question and outcome come from two sides, in any order, and neither takes away what the other told."""
        asked = job(principals=["ann"], question="Why?")
        told = msgspec.structs.replace(asked, question="", state="generating", passages=[{"doc_id": "d"}])
        ended = msgspec.structs.replace(told, state="done", final=FINAL, passages=None, data={"text": "é"})
        await jobs.put(asked)
        assert await jobs.read([asked.ref]) == [asked]
        await jobs.tell([told])
        await jobs.tell([ended])
        whole = msgspec.structs.replace(ended, question="Why?", passages=[{"doc_id": "d"}])
        assert await jobs.read([asked.ref, JobRef("acme", asked.ref.job_id)]) == [whole, None]
        await jobs.put(asked)
        assert await jobs.read([asked.ref]) == [whole]
        head = msgspec.structs.replace(whole, passages=None, data=None)
        assert await jobs.read([asked.ref], whole=False) == [head]
        assert await jobs.read([]) == []

    async def test_the_outcome_may_come_first(self, jobs: JobStore) -> None:
        """A job whose gateway died before it told of it is known all the same."""
        ended = job(state="failed", final=FINAL, data={"reason": "x"}, principals=["ann"])
        await jobs.tell([ended])
        assert await jobs.read([ended.ref]) == [ended]
        await jobs.put(msgspec.structs.replace(ended, state="accepted", question="q" * 2 * MAX_QUESTION))
        [found] = await jobs.read([ended.ref])
        assert found is not None
        assert (found.state, found.principals, found.question) == ("failed", ["ann"], "q" * MAX_QUESTION)

    async def test_pages_are_newest_first(self, jobs: JobStore) -> None:
        """A tenant's own jobs, newest first, a page at a time, without what is heavy."""
        now = time.time()
        made = [job(now + n, passages=[n], data={}) for n in range(4)]
        await jobs.tell([made[2], made[0]])
        await jobs.put(made[3])
        await jobs.tell([made[1], job(now, "acme")])
        first, more = await jobs.page("default", None, 3)
        assert [each.ref for each in first] == [made[3].ref, made[2].ref, made[1].ref]
        assert first[1].passages is None and first[1].data is None
        assert more == made[1].ref.job_id
        second, more = await jobs.page("default", more, 1)
        assert ([each.ref for each in second], more) == ([made[0].ref], None)
        assert await jobs.page("nobody", None, 3) == ([], None)

    async def test_there_are_never_too_many(self, jobs: JobStore) -> None:
        """Of more than five the oldest go, in the list and by their id; another tenant's do not count."""
        now = time.time()
        made = [job(now + n, data={}) for n in range(7)]
        await jobs.tell([job(now - 1, "acme"), *made])
        kept, _ = await jobs.page("default", None, 10)
        assert [each.ref for each in kept] == [each.ref for each in made[:1:-1]]
        assert await jobs.read([made[0].ref, made[1].ref]) == [None, None]
        assert len((await jobs.page("acme", None, 10))[0]) == 1

    async def test_one_claim_holds(self, jobs: JobStore) -> None:
        """Of many who take a key at once one does, and all learn which; other tenants and keys are apart."""
        claims = [Claim(job_id=str(n), body="b", deadline=1) for n in range(20)]
        assert await jobs.held("default", "k") is None
        held = await asyncio.gather(*(jobs.claim("default", "k", claim) for claim in claims))
        assert len(set(held)) == 1 and held[0] in claims and await jobs.held("default", "k") == held[0]
        other = Claim(job_id="other", body="c", deadline=2, until=3)
        assert await jobs.claim("acme", "k", other) == await jobs.claim("default", "l", other) == other

    async def test_a_claim_is_replaced_once(self, jobs: JobStore) -> None:
        """Of many who replace the claim they saw one does; then theirs is no longer the one that holds."""
        first = await jobs.claim("default", "k", Claim(job_id="1", body="b", deadline=1, until=5))
        later = [Claim(job_id="1", body="b", deadline=1, until=6 + n) for n in range(10)]
        done = await asyncio.gather(*(jobs.reclaim("default", "k", first, claim) for claim in later))
        assert sum(done) == 1
        assert await jobs.claim("default", "k", first) == later[done.index(True)]
        assert not await jobs.reclaim("default", "never", first, first)
