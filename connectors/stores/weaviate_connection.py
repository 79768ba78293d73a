"""One connection to one node of Weaviate: calls with a bound, and errors as the ports name them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.config import GrpcConfig

from connectors.errors import ConnectorError, Permanent, Transient, surest
from connectors.stores.weaviate_errors import RAISED, translate
from runtime.settings import Weaviate as WeaviateSettings

T = TypeVar("T")
# By itself a channel waits ever longer between tries to connect, up to two minutes: 14 s after an outage of 30 s.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
_PATIENCE = 1.0  # seconds of silence before we ask whether the server is there


class Connection:
    """The client of one node; ``open`` may be called again after a failure.  ``settings`` name one address."""

    def __init__(self, settings: WeaviateSettings) -> None:
        self.settings = settings
        self.name = urlsplit(settings.url).netloc
        self._client: weaviate.WeaviateAsyncClient | None = None
        self._opening = asyncio.Lock()

    @property
    def client(self) -> weaviate.WeaviateAsyncClient:
        if self._client is None:
            raise Transient("vector store is not open", reason="closed")
        return self._client

    async def open(self) -> None:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await self._connect()

    async def _connect(self) -> weaviate.WeaviateAsyncClient:
        try:
            client = _client(self.settings)
        except ValueError as error:
            raise Permanent(
                f"FRESHET_WEAVIATE_URL or FRESHET_WEAVIATE_GRPC cannot be used: {error}", reason="settings"
            ) from error
        try:
            await self._within("connect", client.connect)
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ready(self) -> bool:
        """Whether the server says that it is ready (the client's own check prints to standard output)."""
        url = self.settings.url.rstrip("/")
        try:
            async with httpx.AsyncClient(timeout=self.settings.timeout, verify=url.startswith("https")) as http:
                answer = await http.get(f"{url}/v1/.well-known/ready")
        except (httpx.HTTPError, OSError):
            return False
        return answer.status_code == httpx.codes.OK

    async def call(
        self, doing: str, begin: Callable[[weaviate.WeaviateAsyncClient], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """Run one call of the client, see :meth:`_within`."""
        client = self.client
        return await self._within(doing, lambda: begin(client), seconds)

    async def _within(self, doing: str, begin: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """Run one call of the client within its time; everything it raises is a :class:`ConnectorError`.

        The client repeats what found nobody for a minute, ever more slowly.  A question cannot wait for that: after a
        second of silence we look whether the server answers at all, and give up at once if it does not.
        """
        task: asyncio.Future[T] | None = None
        try:
            async with asyncio.timeout(seconds or self.settings.timeout):
                task = asyncio.ensure_future(begin())
                done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
                if not done and not await self.ready():
                    raise Transient(f"Weaviate, {doing}: no answer from {self.settings.url}", reason="away")
                return await task
        except ConnectorError:
            raise
        except RAISED as error:
            raise translate(error, doing) from error
        finally:
            if task is not None:
                task.cancel()


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Results of all; waits for every one, then raises of their errors the one that says most."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise surest(errors)
    return [result for result in results if not isinstance(result, BaseException)]


def _client(settings: WeaviateSettings) -> weaviate.WeaviateAsyncClient:
    # It logs whole objects, vectors included, of what it also returns to us as errors.
    logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)
    http, grpc = urlsplit(settings.url), settings.grpc.rpartition(":")
    secure = http.scheme == "https"
    return weaviate.use_async_with_custom(
        http_host=http.hostname or "127.0.0.1",
        http_port=http.port or (443 if secure else 80),
        http_secure=secure,
        grpc_host=grpc[0].strip("[]"),
        grpc_port=int(grpc[2]),
        grpc_secure=secure,
        auth_credentials=Auth.api_key(settings.api_key.get_secret_value()) if settings.api_key else None,
        additional_config=AdditionalConfig(
            timeout=Timeout(query=settings.timeout, insert=settings.insert_timeout, init=settings.timeout),
            grpc_config=GrpcConfig(channel_options=_RECONNECT),
            trust_env=secure,  # SSL_CERT_FILE counts, and a proxy on the way to a managed cluster
        ),
        skip_init_checks=True,  # they ask the package index for news
    )
