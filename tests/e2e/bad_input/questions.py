"""Questions and filters."""

from collections.abc import Mapping
from typing import Any

from tests.e2e.bad_input.kinds import JSON, NONE, Http


def ask(
    name: str,
    body: Any,
    says: str = "",
    status: int = 422,
    kind: str | None = "invalid",
    headers: Mapping[str, str] = NONE,
) -> Http:
    """A question for passages."""
    return Http(name, "POST", "/v1/retrieve", status, kind, says, body, {"Content-Type": JSON, **headers})


def odd(name: str, question: str) -> Http:
    """A question that is strange and yet one: it is answered."""
    return ask(name, {"question": question, "k": 1}, '"passages":', 200, None)


def filtered(name: str, where: Mapping[str, Any], says: str = "") -> Http:
    """A question with a filter; without words it finds nothing."""
    body = {"question": "Which?", "filter": where}
    return ask(name, body, says) if says else ask(name, body, '"passages":[]', 200, None)


def with_token(name: str, token: str) -> Http:
    """A token that the index does not reach: the answer says so."""
    return ask(name, {"question": "Which?", "at_least": [token]}, f'"token":"{token}","status":"not-fresh"', 200, None)


QUESTIONS = (
    ask("no question", {}, "missing required field 'question'"),
    ask("empty question", {"question": ""}, "the question is empty"),
    ask("blanks only", {"question": " \t\n\u3000"}, "the question is empty"),
    ask("100,000 characters", {"question": "x" * 100_000}, "more than 4000 characters"),
    ask("question is a number", {"question": 42}, "Expected 'str', got 'int'"),
    ask("NUL in a question", {"question": "a\0b"}, "NUL character at 1"),
    ask("half of a surrogate pair in a question", b'{"question": "\\udc00"}', "surrogate", 400, "malformed"),
    odd("punctuation only", "?!... --- ;;"),
    odd("search engine syntax", 'title:"x" AND (body:* OR -y~2) ^3 [a TO b} /re.*/ \\'),
    odd("SQL and GraphQL", "'; DROP TABLE documents; -- { Get { Chunk { text } } }"),
    odd("emoji and right-to-left", "🦩\u202e שלום \u200b?"),
    odd("one character", "?"),
    ask("no passages", {"question": "x", "k": 0}, "passages can be asked for"),
    ask("-1 passages", {"question": "x", "k": -1}, "passages can be asked for"),
    ask("a thousand million passages", {"question": "x", "k": 10**9}, "passages can be asked for"),
    ask("passages in words", {"question": "x", "k": "five"}, "Expected 'int | null', got 'str'"),
    ask("model with a line break", {"question": "x", "model": "a\nb"}, "no name of a model"),
    ask("model of no name", {"question": "x", "model": ""}, "no name of a model"),
    ask("model of 10,000 characters", {"question": "x", "model": "m" * 10_000}, "no name of a model"),
    ask("model is a number", {"question": "x", "model": 4}, "Expected 'str | null', got 'int'"),
    ask("misspelt field", {"question": "x", "top_k": 5}, "unknown field 'top_k'"),
    ask("deadline of none", {"question": "x", "timeout": 0}, "more than 0 and at most"),
    ask("deadline before now", {"question": "x", "timeout": -5}, "more than 0 and at most"),
    ask("deadline in days", {"question": "x", "timeout": 1e9}, "more than 0 and at most"),
    ask("priority that is none", {"question": "x", "priority": "urgent"}, "Invalid enum value 'urgent'"),
    ask("priority as a number", {"question": "x", "priority": 1}, "Expected 'str', got 'int'"),
    ask("priority of nothing", {"question": "x", "priority": None}, "Expected 'str', got 'null'"),
    ask("priority in capitals", {"question": "x", "priority": "BATCH"}, "Invalid enum value 'BATCH'"),
    ask("priority of batch", {"question": "x", "priority": "batch", "k": 1}, '"passages":', 200, None),
    ask("deadline beyond numbers", b'{"question": "x", "timeout": 1e999}', "out of range"),
    ask("principals that are not UTF-8", {"question": "x"}, "not UTF-8", headers={"Freshet-Principals": "\xff"}),
    ask("500 principals", {"question": "x"}, "more than 256", headers={"Freshet-Principals": ",".join(map(str, range(500)))}),
    ask("history of a king", {"question": "x", "history": [{"role": "king", "content": "x"}]}, "Invalid enum value 'king'"),
    ask("history without words", {"question": "x", "history": [{"role": "user"}]}, "missing required field 'content'"),
    ask("history of 100 turns", {"question": "x", "history": [{"role": "user", "content": "x"}] * 100}, "at most 10 turns"),
    ask("history of 100,000 characters", {"question": "x", "history": [{"role": "user", "content": "x" * 100_000}]}, "more than 8000 characters"),
    ask("NUL in a history", {"question": "x", "history": [{"role": "user", "content": "a\0b"}]}, "NUL character at 1"),
    ask("question as text", b"What?", "use application/json", 415, "unsupported-media-type", headers={"Content-Type": "text/plain"}),
    Http("question as parameters", "GET", "/v1/queries?question=x", 422, "invalid", "unknown parameter"),
    Http("wait that is no number", "POST", "/v1/queries", 202, None, '"job_id"', {"question": "x"}, {"Prefer": "wait=ever"}),
    ask("to be told, in words", {"question": "x", "notify_stale": "yes"}, "Expected 'bool', got 'str'"),
    ask("to be told, as a number", {"question": "x", "notify_stale": 1}, "Expected 'bool', got 'int'"),
    ask("to be told, or nothing", {"question": "x", "notify_stale": None}, "Expected 'bool', got 'null'"),
    ask("to be told, misspelt", {"question": "x", "notify-stale": True}, "unknown field 'notify-stale'"),
    ask("to be told of passages", {"question": "x", "notify_stale": True}, "ask by POST /v1/queries"),
    Http("to be told of passages by GET", "GET", "/v1/retrieve?q=x&notify_stale=true", 422, "invalid", "unknown parameter"),
    Http("to be told of what was not found", "POST", "/v1/queries", 202, None, '"job_id"', {"question": "?!", "notify_stale": True}),
    Http("resume behind nothing", "GET", f"/v1/queries/{'0' * 36}/events", 422, "invalid", "not an id that this stream",
         headers={"Last-Event-ID": "-1"}),
    Http("resume behind words", "GET", f"/v1/queries/{'0' * 36}/events", 422, "invalid", "not an id that this stream",
         headers={"Last-Event-ID": "latest"}),
)  # fmt: skip

FILTERS = (
    filtered("key that nobody has", {"nobody": {"eq": 1}}),
    filtered("key with quotes and dots", {'a.b"]\\': {"eq": "x"}}),
    filtered("unknown operator", {"year": {"like": "x"}}, "unknown field 'like'"),
    filtered("no operator", {"year": {}}, "no condition is given"),
    filtered("value without operator", {"year": 2024}, "Expected 'object', got 'int'"),
    filtered("equal to a list", {"year": {"eq": [1]}}, "got 'array'"),
    filtered("range of words", {"year": {"gt": "recent"}}, "gt compares numbers and dates"),
    filtered("range of a day that is none", {"day": {"lt": "2026-02-30"}}, "lt compares numbers and dates"),
    filtered("range of true", {"year": {"gt": True}}, "got 'bool'"),
    filtered("any is a string", {"tags": {"any": "x"}}, "Expected 'array | null', got 'str'"),
    filtered("any of nothing", {"tags": {"any": []}}, "any of nothing never holds"),
    filtered("empty key", {"": {"eq": 1}}, "1 to 128 are allowed"),
    filtered("key of 10,000 characters", {"k" * 10_000: {"eq": 1}}, "1 to 128 are allowed"),
    filtered("value of 10,000 characters", {"k": {"eq": "v" * 10_000}}, "0 to 4096 are allowed"),
    filtered("100 keys", {f"k{n}": {"eq": n} for n in range(100)}, "at most 32 keys"),
    filtered("number of 300 digits", {"n": {"gt": 10**300}}),
)

TOKENS = (
    ask("token of two numbers", {"question": "x", "at_least": ["1.2"]}, "use the token that publishing returned"),
    ask("token of words", {"question": "x", "at_least": ["newest"]}, "use the token that publishing returned"),
    ask("token that is a number", {"question": "x", "at_least": [1]}, "Expected 'str', got 'int'"),
    ask("token alone", {"question": "x", "at_least": "1.2.3"}, "Expected 'array', got 'str'"),
    ask("2,000 tokens", {"question": "x", "at_least": ["1.2.3"] * 2000}, "at most 1024 tokens"),
    with_token("token of the far future", "1.0.999999999999999"),
    with_token("token of another epoch", "99.0.1"),
    with_token("token of a partition that is none", "1.999.1"),
)

TABLE = {"Questions": QUESTIONS, "Filters": FILTERS, "Freshness tokens": TOKENS}
