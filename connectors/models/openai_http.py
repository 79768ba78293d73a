"""Any OpenAI-compatible chat endpoint (vLLM, OpenAI, ...), streaming.

Delivery: one request, no retry of its own; the ladder decides what comes next.  Silence longer than
``first_token_timeout`` counts as away.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import openai

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.models.prompt import messages
from connectors.ports import Delta
from runtime.settings import Llm
from topics.queries import Passage


class OpenAIModel:
    """Answer model behind ``settings.url``."""

    def __init__(self, settings: Llm) -> None:
        self._settings = settings
        self.name = settings.model or "default"
        self._client: openai.AsyncOpenAI | None = None

    async def open(self) -> None:
        key = self._settings.api_key.get_secret_value() if self._settings.api_key else "none"
        self._client = openai.AsyncOpenAI(base_url=self._settings.url, api_key=key, max_retries=0)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncIterator[Delta]:
        """Tokens as the endpoint sends them."""
        assert self._client is not None, "open first"
        silence = self._settings.first_token_timeout
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                chunks = await self._client.chat.completions.create(
                    model=self.name,
                    messages=messages(question, passages),  # type: ignore[arg-type]  # plain dicts
                    max_tokens=self._settings.max_tokens,
                    temperature=self._settings.temperature,
                    stream=True,
                    timeout=openai.Timeout(silence, connect=5.0),
                )
                assert isinstance(chunks, openai.AsyncStream)
                async with chunks:
                    finished = False
                    async for chunk in chunks:
                        for choice in chunk.choices[:1]:
                            finished = finished or choice.finish_reason is not None
                            if choice.delta.content:
                                yield Delta(choice.delta.content)
                    if not finished:
                        raise Transient("endpoint broke the stream off", reason="cut")
        except (openai.OpenAIError, httpx.HTTPError, TimeoutError) as error:
            raise _translate(error) from error


def _translate(error: Exception) -> ConnectorError:
    match error:
        case openai.RateLimitError():
            after = error.response.headers.get("retry-after", "1")
            return Overloaded(
                f"endpoint is rate limited: {error}", retry_after=float(after) if after.isdigit() else 1.0
            )
        case openai.APIConnectionError() | httpx.TimeoutException() | TimeoutError():
            return Transient(f"endpoint does not answer: {error!r}", reason="timeout")
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return Permanent("endpoint refuses the API key: check FRESHET_LLM_API_KEY", reason="key")
        case openai.NotFoundError():
            return Permanent(f"endpoint does not know the model: check FRESHET_LLM_MODEL ({error})", reason="model")
        case openai.APIStatusError() if error.status_code < 500:
            return Permanent(f"endpoint refuses the request: {error}", reason="request")
        case _:
            return Transient(f"endpoint failed: {error!r}", reason="endpoint")
