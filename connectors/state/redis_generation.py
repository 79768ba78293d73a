"""What all that one generation keeps in Redis has in common: a client, key names, scripts run in one round trip.

And the guard: nothing is told from a Redis that is empty, behind, rolled back, replaced or restarted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError

from connectors.errors import Transient
from connectors.state import manifest_scripts as scripts
from connectors.state.redis_connection import calling, connect, replies
from runtime.settings import Settings
from topics.identity import DocumentRef, Token


class RedisGeneration:
    """A connection to the *state* role, bound to one generation."""

    def __init__(self, settings: Settings, generation: str | None = None) -> None:
        self._settings = settings.redis
        self._generation = f"{settings.kafka.prefix}:{generation or settings.documents.generation}"
        self._client: Redis | None = None

    async def open(self) -> None:
        if self._client is None:
            self._client = connect("state", self._settings, text=True)
        async with calling(self._settings, "open manifests"):
            await self._redis.ping()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @property
    def _redis(self) -> Redis:
        if self._client is None:
            raise Transient("manifests are not open", reason="closed")
        return self._client

    def _key(self, name: str) -> str:
        return f"{self._generation}:{name}"

    def _document(self, ref: DocumentRef) -> str:
        return self._key(f"doc:{{{ref.tenant}}}/{ref.doc_id}")

    def _waiting(self, ref: DocumentRef) -> str:
        return self._key(f"waiting:{{{ref.tenant}}}/{ref.doc_id}")

    def _ids(self, tenant: str) -> str:
        return self._key(f"ids:{{{tenant}}}")

    def _refused(self, token: Token) -> str:
        return self._key(f"refused:{token}")

    @property
    def _view(self) -> str:
        return self._key("view")

    async def _from_whole_view(self, ask: Callable[[Pipeline], object]) -> tuple[list[Any], str]:
        """Answers of one round trip, and the view that all of them are from; :class:`Transient` unless it is whole.

        One connection is one run of a server, and the pipeline is repeated as a whole.  That the same view is declared
        before and after rules out that it was lost and made whole again in between.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(self._view, "whole")
        ask(pipe)
        pipe.info("replication")
        pipe.hget(self._view, "whole")
        before, *answers, info, after = await replies(pipe)
        if not before or before != after or before.partition(" ")[0] != server_of(info):
            raise lost()
        return answers, before

    async def _run(self, script: str, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run a script once per call, in one round trip (two when the server has not seen it since its start)."""
        answers = await self._evaluate(scripts.sha(script), calls)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            await self._redis.script_load(script)
            for i, answer in zip(
                unknown, await self._evaluate(scripts.sha(script), [calls[i] for i in unknown]), strict=True
            ):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _evaluate(self, name: str, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for keys, arguments in calls:
            pipe.evalsha(name, len(keys), *keys, *arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers


def server_of(info: Mapping[str, Any]) -> str:
    """Name of this run of the server from ``INFO replication``: the id of its own history, none for a replica's.

    It changes with every restart, and with every failover, where the run id of a process stays.
    """
    return str(info["master_replid"]) if info.get("role") == "master" else ""


def lost() -> Transient:
    return Transient("the view in Redis is not whole: it is being rebuilt from index-events", reason="view")
