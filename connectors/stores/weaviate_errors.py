"""What errors of Weaviate and its client mean.

Most gRPC errors of Weaviate 1.39 have the code UNKNOWN, so the text decides.  Only what is surely the object's own
fault is permanent: an outage must not be able to refuse a record.  What may be either is unclear.
"""

import re
import ssl

import grpc  # type: ignore[import-untyped]
import httpx
from grpc.aio import AioRpcError  # type: ignore[import-untyped]
from weaviate.exceptions import (
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateClosedClientError,
    WeaviateInsertInvalidPropertyError,
    WeaviateInvalidInputError,
    WeaviateTimeoutError,
)

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient, Unclear

RAISED = (WeaviateBaseError, AioRpcError, httpx.HTTPError, OSError, TimeoutError, ValueError)  # by the client
_FAULT = re.compile(
    r"vector dimensions do not match|vector lengths don't match"
    r"|invalid \S+ property|requires a |invalid UUID|is not a valid uuid|parse .* as (uuid|rfc3339)",
    re.IGNORECASE,
)
_BUSY = re.compile(r"too many|rate limit|overloaded|not enough memory|memory pressure|queue is full", re.IGNORECASE)
_AWAY = re.compile(
    r"leader not found|no leader|shutting down|connection refused|no space left"
    r"|cannot reach enough replicas|code = (Canceled|Unavailable)|local index not ready",  # between nodes
    re.IGNORECASE,
)
_READ_ONLY = re.compile(r"read-?only", re.IGNORECASE)
_GONE = (502, 503, 504, grpc.StatusCode.UNAVAILABLE)
_PAUSE = 1.0  # seconds; Weaviate names none


def is_absent_tenant(error: Exception) -> bool:
    """Whether a call failed because nothing was ever stored for the tenant."""
    return "tenant not found" in str(error)


def judge(text: str, doing: str) -> ConnectorError:
    """What a message of the server means."""
    message = f"Weaviate, {doing}: {text}"
    if _FAULT.search(text):
        return Permanent(message, reason="invalid")
    if _BUSY.search(text):
        return Overloaded(message, retry_after=_PAUSE)
    if _READ_ONLY.search(text):
        return Transient(message, reason="read_only")
    if _AWAY.search(text):
        return Transient(message, reason="away")
    return Unclear(message, reason="store")


def translate(error: Exception, doing: str) -> ConnectorError:
    """What an error of the client means to a stage."""
    text = str(error) or type(error).__name__
    message = f"Weaviate, {doing}: {text}"
    status = _status(error)
    if status in (429, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return Overloaded(message, retry_after=_PAUSE)
    if unproven := _unproven(error):
        return Transient(
            f"Weaviate, {doing}: no encrypted connection ({unproven}): check FRESHET_WEAVIATE_URL, and SSL_CERT_FILE "
            "where you vouch for the server yourself (docs/security.md)",
            reason="certificate",
        )
    if isinstance(error, TimeoutError | WeaviateTimeoutError) or status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unclear(message, reason="timeout")  # a server that is gone is found out sooner, and is away
    if isinstance(error, WeaviateClosedClientError):
        return Transient(message, reason="closed")
    if status in (401, 403, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        # Keys can be mended; the record is not at fault.
        return Transient(f"{message}: check FRESHET_WEAVIATE_API_KEY", reason="denied")
    if isinstance(error, WeaviateInvalidInputError | WeaviateInsertInvalidPropertyError | ValueError):
        return Permanent(message, reason="invalid")
    if isinstance(error, httpx.HTTPError | OSError) or status in _GONE:
        return Transient(message, reason="away")
    return judge(text, doing)


def _unproven(error: BaseException | None) -> str | None:
    """Why a server's certificate was not believed, where that is at the bottom of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return str(getattr(error, "verify_message", "") or error.reason or "TLS")
        error = error.__cause__ or error.__context__
    return None


def _status(error: Exception) -> object:
    """HTTP status or gRPC code; the client hides the latter behind its own exceptions."""
    if isinstance(error, UnexpectedStatusCodeError):
        return error.status_code
    for cause in (error, error.__cause__, error.__context__):
        if isinstance(cause, AioRpcError):
            return cause.code()
    return None
