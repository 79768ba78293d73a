"""Jobs: listed, cancelled, and asked for twice."""

from tests.e2e.bad_input.kinds import JSON, Http

_LIST = "/v1/queries"
_NONE = f"{_LIST}/{'0' * 36}"


def keyed(name: str, key: str | bytes, path: str = _LIST) -> Http:
    """A key that is none."""
    return Http(name, "POST", path, 422, "invalid", "printable ASCII", {"question": "x"},
                {"Content-Type": JSON, "Idempotency-Key": key})  # fmt: skip


JOBS = (
    Http("state that is none", "GET", f"{_LIST}?state=lost", 422, "invalid", "one of accepted"),
    Http("two states", "GET", f"{_LIST}?state=done&state=failed", 422, "invalid", "more than once"),
    Http("no jobs", "GET", f"{_LIST}?limit=0", 422, "invalid", "1 to 100 jobs"),
    Http("1,000 jobs", "GET", f"{_LIST}?limit=1000", 422, "invalid", "1 to 100 jobs"),
    Http("jobs in words", "GET", f"{_LIST}?limit=all", 422, "invalid", "1 to 100 jobs"),
    Http("cursor of one's own", "GET", f"{_LIST}?cursor=2", 422, "invalid", "not the `next` of a page"),
    Http("jobs since when", "GET", f"{_LIST}?since=yesterday", 422, "invalid", "unknown parameter"),
    Http("cancelling nothing", "DELETE", f"{_LIST}/42", 404, "not-found", "no such job"),
    Http("cancelling what never was", "DELETE", f"{_LIST}/{'f' * 36}", 404, "not-found", "no such job"),
    Http("cancelling when", "DELETE", f"{_NONE}?when=now", 422, "invalid", "unknown parameter"),
    Http("cancelling all", "DELETE", _LIST, 405, "method-not-allowed"),
    keyed("empty idempotency key", ""),
    keyed("idempotency key of 256 characters", "k" * 256),
    keyed("idempotency key that is not ASCII", "schlüssel"),
    keyed("idempotency key that is not ASCII, for passages", "schlüssel", "/v1/retrieve"),
)

TABLE = {"Jobs": JOBS}
