"""Webhooks: addresses that lead inside, bodies, and names of what is not there."""

from typing import Any

from tests.e2e.bad_input.kinds import JSON, Http

_ALL = "/v1/webhooks"
_NONE = f"{_ALL}/we_none"


def add(name: str, says: str, **body: Any) -> Http:
    """A webhook that is not made."""
    return Http(name, "POST", _ALL, 422, "invalid", says, body, {"Content-Type": JSON})


def to(name: str, url: str, says: str) -> Http:
    """An address that is not called."""
    return add(name, says, url=url)


WEBHOOKS = (
    to("loopback", "https://127.0.0.1/", "loopback"),
    to("private address", "https://10.0.0.8/hook", "private"),
    to("metadata of a cloud", "https://169.254.169.254/latest/meta-data", "link-local"),
    to("IPv4 inside of IPv6", "https://[::ffff:127.0.0.1]/", "loopback"),
    to("a number for a host", "https://2130706433/", "neither a host name nor an address"),
    to("octal digits", "https://0177.0.0.1/", "neither a host name nor an address"),
    to("name with a password", "https://ann:secret@hooks.example/", "no user and no password"),
    to("no encryption", "http://hooks.example/", "only https"),
    to("a port of others", "https://hooks.example:6379/", "port 6379 is not called"),
    to("a file", "file:///etc/passwd", "file is not called"),
    to("no address at all", "hooks", "use https://host/path"),
    add("no address given", "missing required field 'url'"),
    add("event that is none", "Invalid enum value 'document'", url="https://hooks.example/", events=["document"]),
    add("no events", "name at least one of", url="https://hooks.example/", events=[]),
    add("a secret of one's own", "unknown field 'secret'", url="https://hooks.example/", secret="whsec_x"),
    Http("webhook as text", "POST", _ALL, 415, "unsupported-media-type", "use application/json", b"https://hooks.example/",
         {"Content-Type": "text/plain"}),
    Http("webhook that is not there", "GET", _NONE, 404, "not-found", "no such webhook"),
    Http("delivery that is not there", "POST", f"{_NONE}/deliveries/msg_x/redeliver", 404, "not-found", "no such webhook"),
    Http("page of no deliveries", "GET", f"{_NONE}/deliveries?limit=0", 422, "invalid", "1 to 100"),
    Http("overlap before now", "POST", f"{_NONE}/rotate", 422, "invalid", "0 to 2592000 seconds", {"overlap": -1},
         {"Content-Type": JSON}),
    Http("question for a webhook that is not there", "POST", "/v1/queries", 422, "invalid", "there is no such webhook",
         {"question": "x", "webhook": "we_none"}, {"Content-Type": JSON}),
    Http("passages to a webhook", "POST", "/v1/retrieve", 422, "invalid", "POST /v1/queries",
         {"question": "x", "webhook": True}, {"Content-Type": JSON}),
)  # fmt: skip

TABLE = {"Webhooks": WEBHOOKS}
