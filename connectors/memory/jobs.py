"""Durable jobs in a dict.  Same contract as Redis, except that nothing is forgotten by itself."""

from collections.abc import Sequence

import msgspec

from connectors.job_ports import MAX_QUESTION, Claim, JobRef, StoredJob


class MemoryJobs:
    """:class:`connectors.job_ports.JobStore`."""

    def __init__(self, kept: int = 10_000) -> None:
        self._kept = kept
        self._jobs: dict[JobRef, StoredJob] = {}
        self._claims: dict[tuple[str, str], Claim] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def put(self, job: StoredJob) -> None:
        question = job.question[:MAX_QUESTION]
        if (known := self._jobs.get(job.ref)) is not None:
            known.question = question
        else:
            asked = StoredJob(ref=job.ref, deadline=job.deadline, principals=list(job.principals), question=question)
            self._jobs[job.ref] = asked

    async def tell(self, jobs: Sequence[StoredJob]) -> None:
        for job in jobs:
            known = self._jobs.get(job.ref) or StoredJob(ref=job.ref)
            told = msgspec.structs.replace(job, question=known.question)
            told.passages = known.passages if job.passages is None else job.passages
            told.data = known.data if job.data is None else job.data
            self._jobs[job.ref] = told
            own = sorted(ref for ref in self._jobs if ref.tenant == job.ref.tenant)
            for ref in own[: -self._kept]:
                del self._jobs[ref]

    async def read(self, refs: Sequence[JobRef], *, whole: bool = True) -> list[StoredJob | None]:
        found = [self._jobs.get(ref) for ref in refs]
        return [job and _copy(job, whole) for job in found]

    async def page(self, tenant: str, before: str | None, limit: int) -> tuple[list[StoredJob], str | None]:
        refs = sorted((ref for ref in self._jobs if ref.tenant == tenant), reverse=True)
        older = [ref for ref in refs if before is None or ref.job_id < before]
        page = [_copy(self._jobs[ref], whole=False) for ref in older[:limit]]
        return page, older[limit - 1].job_id if len(older) > limit else None

    async def held(self, tenant: str, key: str) -> Claim | None:
        return self._claims.get((tenant, key))

    async def claim(self, tenant: str, key: str, claim: Claim) -> Claim:
        return self._claims.setdefault((tenant, key), claim)

    async def reclaim(self, tenant: str, key: str, held: Claim, claim: Claim) -> bool:
        if self._claims.get((tenant, key)) != held:
            return False
        self._claims[tenant, key] = claim
        return True


def _copy(job: StoredJob, whole: bool) -> StoredJob:
    copy = msgspec.json.decode(msgspec.json.encode(job), type=StoredJob)
    return copy if whole else msgspec.structs.replace(copy, passages=None, data=None)
