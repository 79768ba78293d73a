"""Failures of chat endpoints: what the SDKs raise, which name their errors alike, and what it means to a stage."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient

UNTOLD: Final = 1.0  # seconds to wait where a busy endpoint does not say
# The clients check nothing of what they are sent: what is no chat completion, such as a web page, fails where it is
# read.
_NO_COMPLETION = (ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Sdk:
    """One SDK by its names: those of its errors, of the HTTP client below it, and the parent of all its errors."""

    names: Any
    http: Any
    parent: type[Exception]

    @property
    def troubles(self) -> tuple[type[BaseException], ...]:
        """All that a call may raise."""
        return (self.parent, self.http.HTTPError, TimeoutError, *_NO_COMPLETION)


def translate(error: BaseException, sdk: Sdk, name: str) -> ConnectorError:
    """What it means; ``name`` is that of the endpoint."""
    names, http = sdk.names, sdk.http
    if isinstance(error, names.APIStatusError):
        return _of_status(error, sdk, name)
    if isinstance(error, (names.APITimeoutError, http.TimeoutException, TimeoutError)):
        return Transient(f"endpoint is silent: {error!r}", reason="timeout")
    if isinstance(error, (names.APIConnectionError, http.ConnectError)):
        return Transient(f"endpoint does not answer: {error!r}", reason="away")
    if isinstance(error, http.TransportError):
        return Transient(f"endpoint broke the stream off: {error!r}", reason="cut")
    if isinstance(error, _NO_COMPLETION):
        return Transient(f"endpoint failed: it sent no chat completion ({error!r})", reason="endpoint")
    return Transient(f"endpoint failed: {error!r}", reason="endpoint")


def _of_status(error: Any, sdk: Sdk, name: str) -> ConnectorError:
    headers = error.response.headers
    if error.status_code == 429 or (error.status_code >= 500 and "retry-after" in headers):
        return Overloaded(f"endpoint is rate limited: {error}", retry_after=retry_after(headers))
    if isinstance(error, (sdk.names.AuthenticationError, sdk.names.PermissionDeniedError)):
        return Permanent(
            f"endpoint refuses the API key: check FRESHET_LLM_API_KEY, or api_key of {name} in FRESHET_LLM_ENDPOINTS",
            reason="key",
        )
    if isinstance(error, sdk.names.NotFoundError):
        return Permanent(
            "endpoint does not know the model: check FRESHET_LLM_MODEL and FRESHET_LLM_URL, or model and url of "
            f"{name} in FRESHET_LLM_ENDPOINTS ({error})",
            reason="model",
        )
    if 300 <= error.status_code < 500:
        return Permanent(f"endpoint refuses the request: {error}", reason="request")
    return Transient(f"endpoint failed: {error!r}", reason="endpoint")


def retry_after(headers: Any, now: float | None = None) -> float:
    """Seconds that an endpoint asks for: a number, a date, or OpenAI's milliseconds; never less than none."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
            except (ValueError, OverflowError, TypeError):
                continue
        if seconds == seconds and seconds < float("inf"):
            return max(0.0, seconds)
    return UNTOLD
