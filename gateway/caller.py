"""Who is asking: the one place where a request becomes a tenant, principals and a trace.

With API keys both come from the key alone, and ``Freshet-Tenant`` or ``Freshet-Principals`` that say otherwise are
refused.  Without keys (on loopback, or behind a proxy that sets them) these headers are believed.
"""

import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from litestar import Request

from gateway.keys import Key, KeyRing, Scope
from gateway.problems import FieldError, Problem, invalid
from runtime import tracing
from runtime.settings import Settings
from topics.identity import DEFAULT_TENANT

TENANT_HEADER, PRINCIPALS_HEADER, KEY_HEADER = "Freshet-Tenant", "Freshet-Principals", "X-API-Key"
_MAX_PRINCIPALS = 256
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's user or program, and the trace that its request belongs to."""

    tenant: str
    principals: list[str]
    traceparent: str | None
    key: Key | None = None

    @property
    def proven(self) -> list[str] | None:
        """Principals that are known to be the caller's own; None without keys, where nothing is known."""
        return self.principals if self.key else None

    def may_see(self, access: Collection[str]) -> bool:
        """Whether what a document says of itself may be told: to its principals, and to those who write documents."""
        if self.key is None or "write" in self.key.scopes or not access:
            return True
        return not set(access).isdisjoint(self.principals)


class Callers:
    """Lets requests in.  What a route asks for is the scope in its ``Doc``."""

    def __init__(self, settings: Settings) -> None:
        self._tenants = settings.tenants
        path = settings.api.keys_file
        self._keys = KeyRing(path, settings.tenants) if path else None

    @property
    def keyed(self) -> bool:
        """Whether keys are asked for."""
        return self._keys is not None

    def of(self, request: Request[Any, Any, Any], scope: Scope | None = None) -> Caller:
        """The caller; 401 without a key that counts, 403 where it does not reach, 422 for a header that is wrong.

        ``scope`` is what the route asks for, where the router has yet to find it.
        """
        key = self.admit(request, scope)
        headers = request.headers
        trace = trace_of(headers.get("traceparent"))
        principals = _principals(headers.get(PRINCIPALS_HEADER) or "")
        if key is None:
            tenant = headers.get(TENANT_HEADER) or DEFAULT_TENANT
            if tenant not in self._tenants:
                raise invalid(f"tenant {tenant[:80]!r} is unknown here", header=TENANT_HEADER)
            return Caller(tenant, principals, trace)
        own = sorted(set(key.principals))
        if (headers.get(TENANT_HEADER) or key.tenant) != key.tenant:
            raise _not_yours(TENANT_HEADER)
        if principals and principals != own:
            raise _not_yours(PRINCIPALS_HEADER)
        return Caller(key.tenant, own, trace, key)

    def admit(self, request: Request[Any, Any, Any], scope: Scope | None = None) -> Key | None:
        """The key of a request that may do what its route does; None where no keys are asked for."""
        if self._keys is None:
            return None
        shown = _shown(request)
        if shown is None:
            raise _stranger("show an API key: Authorization: Bearer <key>, or X-API-Key: <key>")
        key = self._keys.find(shown)
        if key is None:
            raise _stranger("this API key is unknown, revoked or expired", ', error="invalid_token"')
        needed: Scope | None = scope or request.route_handler.opt["doc"].scope
        if needed is not None and needed not in key.scopes:
            raise Problem("forbidden", f"this needs the scope {needed}; the key {key.id} has {', '.join(key.scopes)}")
        return key

    def is_admin(self, request: Request[Any, Any, Any]) -> bool:
        """Whether the caller may know how we are inside; never refuses."""
        shown = _shown(request)
        key = self._keys.find(shown) if self._keys and shown else None
        return self._keys is None or (key is not None and "admin" in key.scopes)


def _shown(request: Request[Any, Any, Any]) -> str | None:
    bearer = _BEARER.fullmatch(request.headers.get("authorization", ""))
    return bearer[1] if bearer else request.headers.get(KEY_HEADER)


def _stranger(detail: str, error: str = "") -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": f'Bearer realm="freshet"{error}'})


def _not_yours(header: str) -> Problem:
    detail = "tenant and principals come from the API key: leave this header out"
    return Problem("forbidden", errors=[FieldError(detail, header=header)])


def _principals(text: str) -> list[str]:
    names = (name.strip() for name in _unicode(text).split(","))
    principals = sorted({name for name in names if name})
    if len(principals) > _MAX_PRINCIPALS:
        raise invalid(f"more than {_MAX_PRINCIPALS} principals", header=PRINCIPALS_HEADER)
    return principals


def _unicode(value: str) -> str:
    """Header values arrive as Latin-1; clients mean UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise invalid("not UTF-8", header=PRINCIPALS_HEADER) from None


def trace_of(given: str | None) -> str | None:
    """The caller's W3C trace context; where it has none that is valid, a new one, or none if we are to begin it."""
    if found := tracing.valid(given):
        return found
    return None if tracing.on() else f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01"
