"""Connections to Redis 6.2 or later, and what its errors mean.

A full, loading, read-only or failing-over server is away for a while; only a call that the server will never accept
(a key of another type, a malformed command) is permanent.  Anything unknown counts as away: an outage must not be able
to refuse a record.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    DataError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from connectors.errors import ConnectorError, Permanent, Transient
from runtime.settings import Redis as RedisSettings

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (BusyLoadingError, "loading"),
    (AuthenticationError, "denied"),
    (AuthorizationError, "denied"),
    (NoPermissionError, "denied"),
    (ReadOnlyError, "read_only"),
    (OutOfMemoryError, "full"),
    (RedisTimeout, "timeout"),
    (TimeoutError, "timeout"),
)
_REFUSED = re.compile(r"WRONGTYPE|not an integer|wrong number of arguments|unknown command|syntax error")


def connect(role: Literal["state", "cache"], settings: RedisSettings, *, text: bool, retries: int = 1) -> Redis:
    """A client; nothing is sent yet.

    One immediate retry heals pooled connections that died with a restarted server.  Calls that may not be repeated
    take ``retries=0``.  Time is bounded by :func:`calling`: with a ``socket_timeout`` the client sends through
    ``asyncio.wait_for``, which on Python 3.11 swallows a third of all cancellations that meet a busy connection.
    """
    url = settings.state_url if role == "state" else settings.cache_url
    password = settings.state_password if role == "state" else settings.cache_password
    options: dict[str, Any] = {"password": password.get_secret_value()} if password else {}
    if settings.ca and url.startswith("rediss:"):
        options["ssl_ca_data"] = settings.ca
    return Redis.from_url(
        url,
        **options,
        decode_responses=text,
        socket_timeout=None,
        socket_connect_timeout=settings.timeout,
        retry=Retry(NoBackoff(), retries),
    )


@asynccontextmanager
async def calling(settings: RedisSettings, doing: str) -> AsyncIterator[None]:
    """Bound the time of a call and turn its errors into the ports' own."""
    try:
        async with asyncio.timeout(settings.timeout):
            yield
    except ConnectorError:
        raise
    except (RedisError, OSError, TimeoutError, UnicodeError) as error:
        raise translate(error, doing) from error


async def replies(pipe: Pipeline) -> list[Any]:
    """Run a pipeline in one round trip; the first error reply is raised as the server wrote it."""
    answers: list[Any] = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def translate(error: Exception, doing: str) -> ConnectorError:
    """What an error of the client means to a stage."""
    text = f"Redis, {doing}: {error or type(error).__name__}"
    if isinstance(error, DataError | InvalidResponse | UnicodeError):
        return Permanent(text, reason="invalid")
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            hint = ": check user and password of FRESHET_REDIS_*" if reason == "denied" else ""
            return Transient(text + hint, reason=reason)
    # Servers before 7 wrap what failed inside a script, so the code may stand anywhere in the text.
    if isinstance(error, ResponseError) and _REFUSED.search(str(error)):
        return Permanent(text, reason="invalid")
    return Transient(text, reason="away")
