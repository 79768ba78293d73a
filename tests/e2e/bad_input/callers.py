"""API keys, on a gateway that asks for them.  ``{reader}`` and ``{late}`` stand for a key that may read, and an expired one."""

from tests.e2e.bad_input.kinds import PLAIN, Http

_LIST, _DOC = "/v1/documents", "/v1/documents/bad/key.md"


def stranger(name: str, says: str, **headers: str) -> Http:
    """Not let in."""
    return Http(
        name, "GET", _LIST, 401, "unauthorized", says, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )


KEYS = (
    stranger("no key", "show an API key: Authorization: Bearer <key>, or X-API-Key: <key>"),
    stranger("empty key", "unknown, revoked or expired", X_API_Key=""),
    stranger("key that is none", "unknown, revoked or expired", X_API_Key="secret"),
    stranger("key cut off", "unknown, revoked or expired", X_API_Key="{reader}"[:-1] + "x}"),
    stranger("expired key", "unknown, revoked or expired", X_API_Key="{late}"),
    stranger("name and password", "show an API key", Authorization="Basic YW5uOnNlY3JldA=="),
    stranger("bearer of nothing", "show an API key", Authorization="Bearer "),
    stranger("key of 10,000 characters", "unknown, revoked or expired", X_API_Key="k" * 10_000),
    stranger("key that is not UTF-8", "unknown, revoked or expired", X_API_Key="\xff\xfe"),
    Http("writing with a key that reads", "PUT", _DOC, 403, "forbidden", "this needs the scope write", b"x",
         {"X-API-Key": "{reader}", "Content-Type": PLAIN}),
    Http("tenant of others", "GET", _LIST, 403, "forbidden", "leave this header out",
         headers={"X-API-Key": "{reader}", "Freshet-Tenant": "acme"}),
    Http("principals of others", "GET", _LIST, 403, "forbidden", "leave this header out",
         headers={"X-API-Key": "{reader}", "Freshet-Principals": "root"}),
)  # fmt: skip

TABLE = {"API keys": KEYS}
