"""Endpoints and deliveries in Redis (role *state*), under ``<prefix>:{webhooks}:``.

``endpoints:<tenant>`` HASH id -> endpoint; ``key`` what secrets are derived from, unless it is configured; ``ready``
ZSET tenant/endpoint -> when to look; and of each endpoint ``due`` (when), ``all`` (by creation), ``done`` (by end) ZSET
of deliveries, ``dropped`` a count, ``delivery:<endpoint>:<id>`` HASH of state and body.  What is due lies there until
it was made, so a worker that dies loses nothing; all but endpoints and key is forgotten after a while.
"""

import secrets
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from connectors.errors import Permanent, Transient
from connectors.state import webhook_scripts as scripts
from connectors.state.redis_connection import calling, connect, replies
from connectors.webhook_ports import Claim, Delivery, Endpoint, EndpointRef, Enqueued, State
from runtime.settings import Settings

TRIES = 5  # of a step that others may come before
PAGE = 200  # deliveries that are looked through at once
T = TypeVar("T")


class RedisWebhooks:
    """:class:`connectors.webhook_ports.WebhookStore`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._webhook = settings.redis, settings.webhook
        self._prefix = f"{settings.kafka.prefix}:{{webhooks}}:"
        self._ttl = settings.webhook.retention * 1000
        self._client: Redis | None = None

    async def open(self) -> None:
        if self._client is None:
            self._client = connect("state", self._settings, text=False)
        async with calling(self._settings, "open webhooks"):
            await self._redis.ping()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def key(self) -> bytes:
        if self._webhook.key is not None:
            return self._webhook.key.get_secret_value().encode()
        async with calling(self._settings, "read the key of webhooks"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(self._key("key"), secrets.token_bytes(32), nx=True)
            pipe.get(self._key("key"))
            return bytes((await replies(pipe))[1])

    async def endpoints(self, tenant: str) -> list[Endpoint]:
        [found] = await self._ask("list endpoints", lambda pipe: pipe.hvals(self._key(f"endpoints:{tenant}")))
        return sorted((_decoded(value, Endpoint) for value in found), key=lambda each: (each.created, each.id))

    async def endpoint(self, ref: EndpointRef) -> Endpoint | None:
        place = self._key(f"endpoints:{ref.tenant}")
        [found] = await self._ask("read an endpoint", lambda pipe: pipe.hget(place, ref.id))
        return _decoded(found, Endpoint) if found is not None else None

    async def put(self, endpoint: Endpoint, instead_of: Endpoint | None = None) -> bool:
        ref = EndpointRef(endpoint.tenant, endpoint.id)
        keys = [self._key(f"endpoints:{ref.tenant}"), self._key("ready"), self._of(ref, "due")]
        before = msgspec.json.encode(instead_of) if instead_of else b""
        wakes = _path(ref) if endpoint.disabled is None else ""
        return bool(await self._run("keep an endpoint", scripts.PUT, keys, ref.id, before, _encoded(endpoint), wakes))

    async def remove(self, ref: EndpointRef) -> bool:
        [removed, *_] = await self._ask(
            "remove an endpoint",
            lambda pipe: pipe.hdel(self._key(f"endpoints:{ref.tenant}"), ref.id),
            lambda pipe: pipe.zrem(self._key("ready"), _path(ref)),
        )
        while True:
            ids = [i.decode() for i in (await self._ask("read", lambda p: p.zrange(self._of(ref, "all"), 0, PAGE)))[0]]
            if not ids:
                break
            doomed = [self._delivery(ref, each) for each in ids]
            await self._ask(
                "remove deliveries",
                lambda pipe, doomed=doomed: pipe.unlink(*doomed),  # type: ignore[misc]
                lambda pipe, ids=ids: pipe.zrem(self._of(ref, "all"), *ids),  # type: ignore[misc]
            )
        names = [self._of(ref, name) for name in ("due", "done", "all", "dropped")]
        await self._ask("remove an endpoint's lists", lambda pipe: pipe.unlink(*names))
        return bool(removed)

    async def enqueue(self, ref: EndpointRef, delivery: Delivery, body: bytes) -> Enqueued:
        keys = [self._delivery(ref, delivery.id), *(self._of(ref, n) for n in ("due", "all"))]
        keys += [self._key("ready"), self._of(ref, "dropped")]
        at, most = delivery.next_at or delivery.created, self._webhook.max_waiting
        arguments = (delivery.id, _encoded(delivery), body, at, delivery.created, _path(ref), most, self._ttl)
        found = await self._run("enqueue a delivery", scripts.ENQUEUE, keys, *arguments)
        outcome: Enqueued = msgspec.convert(found.decode(), Enqueued)  # a Literal
        return outcome

    async def now(self) -> int:
        [(seconds, micros)] = await self._ask("read the time", lambda pipe: pipe.time())
        return int(seconds) * 1000 + int(micros) // 1000

    async def due(self, now: int, limit: int) -> list[EndpointRef]:
        ready = self._key("ready")
        [found] = await self._ask("look for what is due", lambda p: p.zrangebyscore(ready, "-inf", now, 0, limit))
        return [EndpointRef(*path.decode().split("/", 1)) for path in found]

    async def claim(self, ref: EndpointRef, now: int, until: int, count: int) -> list[Claim]:
        keys = [self._of(ref, "due"), self._key("ready")]
        arguments = (now, until, count, _path(ref), self._delivery(ref, ""))
        found = await self._run("claim deliveries", scripts.CLAIM, keys, *arguments)
        return [
            Claim(_decoded(state, Delivery), bytes(body), until)
            for state, body in zip(found[::2], found[1::2], strict=True)
        ]

    async def rest(self, ref: EndpointRef) -> None:
        await self._ask("let an endpoint rest", lambda pipe: pipe.zrem(self._key("ready"), _path(ref)))

    async def settle(self, ref: EndpointRef, claim: Claim, delivery: Delivery) -> bool:
        keys = [self._delivery(ref, delivery.id), *(self._of(ref, n) for n in ("due", "done", "all"))]
        keys.append(self._key("ready"))
        now = delivery.tries[-1].at if delivery.tries else delivery.created
        arguments = (
            delivery.id, claim.until, delivery.state, _encoded(delivery), delivery.next_at or 0, now, _path(ref),
            self._ttl, self._webhook.log_entries, self._delivery(ref, ""),
        )  # fmt: skip
        return bool(await self._run("settle a delivery", scripts.SETTLE, keys, *arguments))

    async def delivery(self, ref: EndpointRef, delivery_id: str) -> Delivery | None:
        place = self._delivery(ref, delivery_id)
        [found] = await self._ask("read a delivery", lambda pipe: pipe.hget(place, "state"))
        return _decoded(found, Delivery) if found is not None else None

    async def deliveries(
        self, ref: EndpointRef, limit: int, before: str | None = None, state: State | None = None
    ) -> list[Delivery]:
        found: list[Delivery] = []
        listed, start = self._of(ref, "all"), 0
        if before is not None:
            [rank] = await self._ask("find a delivery", lambda pipe: pipe.zrevrank(listed, before))
            if rank is None:
                return []
            start = int(rank) + 1
        while len(found) < limit:
            page = (start, start + PAGE - 1)
            [ids] = await self._ask("list deliveries", lambda pipe, page=page: pipe.zrevrange(listed, *page))  # type: ignore[misc]
            if not ids:
                break
            names = [self._delivery(ref, each.decode()) for each in ids]
            states = await self._ask(
                "read deliveries", *(lambda pipe, name=name: pipe.hget(name, "state") for name in names)
            )
            known = [_decoded(each, Delivery) for each in states if each is not None]
            found += [each for each in known if state in (None, each.state)]
            start += PAGE
        return found[:limit]

    async def again(self, ref: EndpointRef, delivery_id: str, now: int) -> Delivery | None:
        keys = [self._delivery(ref, delivery_id), *(self._of(ref, n) for n in ("due", "done")), self._key("ready")]
        for _ in range(TRIES):
            if (before := await self.delivery(ref, delivery_id)) is None:
                return None
            delivery = msgspec.structs.replace(before, state="waiting", failures=0, next_at=now)
            arguments = (delivery_id, _encoded(before), _encoded(delivery), now, _path(ref), self._ttl)
            if await self._run("begin a delivery anew", scripts.AGAIN, keys, *arguments):
                return delivery
        raise Transient("the delivery changes all the time", reason="contended")

    async def backlog(self, ref: EndpointRef) -> tuple[int, int]:
        waiting, dropped = await self._ask(
            "count what waits",
            lambda pipe: pipe.zcard(self._of(ref, "due")),
            lambda pipe: pipe.get(self._of(ref, "dropped")),
        )
        return int(waiting), int(dropped or 0)

    async def _ask(self, doing: str, *asks: Callable[[Any], object]) -> list[Any]:
        async with calling(self._settings, doing):
            pipe = self._redis.pipeline(transaction=False)
            for ask in asks:
                ask(pipe)
            return await replies(pipe)

    async def _run(self, doing: str, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        async with calling(self._settings, doing):
            try:
                return await self._redis.evalsha(sha1(script.encode()).hexdigest(), len(keys), *keys, *arguments)
            except NoScriptError:
                return await self._redis.eval(script, len(keys), *keys, *arguments)

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("webhooks are not open", reason="closed")
        return self._client

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _of(self, ref: EndpointRef, name: str) -> str:
        return self._key(f"{name}:{ref.id}")

    def _delivery(self, ref: EndpointRef, delivery_id: str) -> str:
        return self._key(f"delivery:{ref.id}:{delivery_id}")


def _path(ref: EndpointRef) -> str:
    return f"{ref.tenant}/{ref.id}"


def _encoded(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(record)


def _decoded(value: bytes, record: type[T]) -> T:
    try:
        return msgspec.json.decode(value, type=record)
    except msgspec.MsgspecError as error:
        raise Permanent(f"what Redis keeps of webhooks is damaged: {error}", reason="damaged") from error
