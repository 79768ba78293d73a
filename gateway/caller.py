"""Who is asking: the one place where a request becomes a tenant, principals and a trace.

Comes in: ``Freshet-Tenant`` (a known tenant; ``default`` when absent), ``Freshet-Principals`` (comma-separated) and
``traceparent``.  These headers are believed: put the gateway behind something that sets them.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.problems import invalid
from topics.identity import DEFAULT_TENANT

TENANT_HEADER, PRINCIPALS_HEADER = "Freshet-Tenant", "Freshet-Principals"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_MAX_PRINCIPALS = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's user or program, and the trace that its request belongs to."""

    tenant: str
    principals: list[str]
    traceparent: str


def caller_of(headers: Mapping[str, str], tenants: frozenset[str]) -> Caller:
    """Read the caller from request headers; 422 names the header that is wrong."""
    tenant = headers.get(TENANT_HEADER) or DEFAULT_TENANT
    if tenant not in tenants:
        raise invalid(f"tenant {tenant[:80]!r} is unknown here", header=TENANT_HEADER)
    names = (name.strip() for name in _unicode(headers.get(PRINCIPALS_HEADER) or "").split(","))
    principals = sorted({name for name in names if name})
    if len(principals) > _MAX_PRINCIPALS:
        raise invalid(f"more than {_MAX_PRINCIPALS} principals", header=PRINCIPALS_HEADER)
    return Caller(tenant, principals, trace_of(headers.get("traceparent")))


def _unicode(value: str) -> str:
    """Header values arrive as Latin-1; clients mean UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise invalid("not UTF-8", header=PRINCIPALS_HEADER) from None


def trace_of(given: str | None) -> str:
    """The caller's W3C trace context, or a new one where it has none that is valid."""
    if given and len(given) <= 256 and _TRACEPARENT.fullmatch(given):
        return given
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
