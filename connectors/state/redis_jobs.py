"""Durable jobs in Redis (role *state*).

``<prefix>:job:{<tenant>}/<job id>``: HASH, ``asked`` (by the gateway), ``told`` (by the deliver stage), ``passages``,
``data``; the last two are compressed, since this server evicts nothing.
``<prefix>:jobs:{<tenant>}``: ZSET of job ids, all with the score 0: they order by time as texts.
``<prefix>:idempotency:{<tenant>}/<digest>``: who uses an idempotency key.

All of them expire; of one tenant's jobs the oldest also go when there are too many.
"""

import time
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from connectors.errors import Permanent, Transient
from connectors.job_ports import MAX_QUESTION, Claim, JobRef, StoredJob
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings
from topics.identity import digest

_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


class _Asked(msgspec.Struct, kw_only=True, omit_defaults=True):
    question: str
    deadline: int
    principals: list[str] = []


class RedisJobs:
    """:class:`connectors.job_ports.JobStore`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._prefix = settings.redis, settings.kafka.prefix
        self._ttl, self._kept = settings.job.ttl, settings.job.kept
        self._client: Redis | None = None

    async def open(self) -> None:
        if self._client is None:
            self._client = connect("state", self._settings, text=False)
        async with calling(self._settings, "open jobs"):
            await self._redis.ping()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def put(self, job: StoredJob) -> None:
        asked = _Asked(question=job.question[:MAX_QUESTION], deadline=job.deadline, principals=job.principals)
        await self._write([(job.ref, {b"asked": msgspec.json.encode(asked)})], "remember a job")

    async def tell(self, jobs: Sequence[StoredJob]) -> None:
        written = []
        for job in jobs:
            head = msgspec.structs.replace(job, question="", passages=None, data=None)
            fields = {b"told": msgspec.json.encode(head)}
            if job.passages is not None:
                fields[b"passages"] = zlib.compress(msgspec.json.encode(job.passages), 1)
            if job.data is not None:
                fields[b"data"] = zlib.compress(msgspec.json.encode(job.data), 1)
            written.append((job.ref, fields))
        if written:
            await self._write(written, "remember what became of jobs")
        for tenant in {job.ref.tenant for job in jobs}:
            await self._bound(tenant)

    async def read(self, refs: Sequence[JobRef], *, whole: bool = True) -> list[StoredJob | None]:
        if not refs:
            return []
        fields = ["asked", "told", *(["passages", "data"] if whole else [])]
        async with calling(self._settings, "read jobs"):
            pipe = self._redis.pipeline(transaction=False)
            for ref in refs:
                pipe.hmget(self._job(ref), fields)
            answers = await replies(pipe)
        return [_job(ref, *found) for ref, found in zip(refs, answers, strict=True)]

    async def page(self, tenant: str, before: str | None, limit: int) -> tuple[list[StoredJob], str | None]:
        async with calling(self._settings, "list jobs"):
            newest = b"+" if before is None else b"(" + before.encode()
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrevrangebylex(self._index(tenant), newest, b"-", 0, limit + 1)
            [ids] = await replies(pipe)
        names = [job_id.decode() for job_id in ids[:limit]]
        found = await self.read([JobRef(tenant, job_id) for job_id in names], whole=False)
        return [job for job in found if job is not None], names[-1] if len(ids) > limit else None

    async def held(self, tenant: str, key: str) -> Claim | None:
        async with calling(self._settings, "read an idempotency key"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.get(self._claim(tenant, key))
            [held] = await replies(pipe)
        return None if held is None else _claim(held)

    async def claim(self, tenant: str, key: str, claim: Claim) -> Claim:
        name = self._claim(tenant, key)
        async with calling(self._settings, "claim an idempotency key"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(name, msgspec.json.encode(claim), nx=True, ex=self._ttl)
            pipe.get(name)
            _, held = await replies(pipe)
        return _claim(held or b"")

    async def reclaim(self, tenant: str, key: str, held: Claim, claim: Claim) -> bool:
        values = msgspec.json.encode(held), msgspec.json.encode(claim)
        async with calling(self._settings, "keep an idempotency key"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.eval(_REPLACE, 1, self._claim(tenant, key), *values, self._ttl)
            [replaced] = await replies(pipe)
        return bool(replaced)

    async def _write(self, jobs: Sequence[tuple[JobRef, dict[bytes, bytes]]], doing: str) -> None:
        async with calling(self._settings, doing):
            pipe = self._redis.pipeline(transaction=False)
            for ref, fields in jobs:
                pipe.hset(self._job(ref), mapping=fields)  # type: ignore[arg-type]  # bytes are taken as well
                pipe.expire(self._job(ref), self._ttl)
                pipe.zadd(self._index(ref.tenant), {ref.job_id: 0})
                pipe.expire(self._index(ref.tenant), self._ttl)
            await replies(pipe)

    async def _bound(self, tenant: str) -> None:
        """Forget a tenant's oldest jobs where there are too many; the index also loses those that have expired."""
        expired = b"(%012x" % int((time.time() - self._ttl) * 1000)
        async with calling(self._settings, "forget old jobs"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.zremrangebylex(self._index(tenant), b"-", expired)
            pipe.zrange(self._index(tenant), 0, -self._kept - 1)
            _, oldest = await replies(pipe)
            if oldest:
                pipe = self._redis.pipeline(transaction=False)
                pipe.zrem(self._index(tenant), *oldest)
                pipe.unlink(*(self._job(JobRef(tenant, job_id.decode())) for job_id in oldest))
                await replies(pipe)

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("jobs are not open", reason="closed")
        return self._client

    def _job(self, ref: JobRef) -> str:
        return f"{self._prefix}:job:{{{ref.tenant}}}/{ref.job_id}"

    def _index(self, tenant: str) -> str:
        return f"{self._prefix}:jobs:{{{tenant}}}"

    def _claim(self, tenant: str, key: str) -> str:
        return f"{self._prefix}:idempotency:{{{tenant}}}/{digest(key.encode())}"


def _job(
    ref: JobRef, asked: bytes | None, told: bytes | None, passages: bytes | None = None, data: bytes | None = None
) -> StoredJob | None:
    if asked is None and told is None:
        return None
    try:
        job = msgspec.json.decode(told, type=StoredJob) if told is not None else StoredJob(ref=ref)
        if asked is not None:
            known = msgspec.json.decode(asked, type=_Asked)
            job.question = known.question
            if told is None:
                job.deadline, job.principals = known.deadline, known.principals
        job.passages, job.data = _unpacked(passages), _unpacked(data)
    except (msgspec.MsgspecError, zlib.error) as error:
        raise Permanent(f"a job in Redis is damaged: {error}", reason="damaged") from error
    return job


def _claim(value: bytes) -> Claim:
    try:
        return msgspec.json.decode(value, type=Claim)
    except msgspec.MsgspecError as error:
        raise Permanent(f"an idempotency key in Redis is damaged: {error}", reason="damaged") from error


def _unpacked(value: bytes | None) -> Any:
    return None if value is None else msgspec.json.decode(zlib.decompress(value))
