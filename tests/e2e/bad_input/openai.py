"""Requests in OpenAI's shape; `kind` is the error's code."""

from collections.abc import Mapping
from typing import Any

from tests.e2e.bad_input.kinds import JSON, NONE, Http

PATHS = ("/v1/chat/", "/v1/embeddings", "/v1/models")  # where errors have OpenAI's shape
CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"


def chat(
    name: str, change: Any, says: str, status: int = 400, code: str = "invalid", headers: Mapping[str, str] = NONE
) -> Http:
    """A chat with something wrong about it."""
    good = {"model": "freshet", "messages": [{"role": "user", "content": "Which?"}]}
    body = change if isinstance(change, bytes) else good | change
    return Http(name, "POST", CHAT, status, code, says, body, {"Content-Type": JSON, **headers})


def embed(name: str, texts: Any, says: str, **more: Any) -> Http:
    """Texts that cannot be embedded."""
    body = {"model": "freshet-embedding", "input": texts, **more}
    return Http(name, "POST", EMBED, 400, "invalid", says, body, {"Content-Type": JSON})


CHATS = (
    chat("model of others", {"model": "gpt-4o"}, "use freshet", 404, "model_not_found"),
    chat("no messages", {"messages": []}, "1 to 2000 messages"),
    chat(
        "last word is the assistant's", {"messages": [{"role": "assistant", "content": "x"}]}, "its role must be user"
    ),
    chat(
        "an image", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "'image_url' cannot be read"
    ),
    chat("tools", {"tools": [{"type": "function"}]}, "tools are not called"),
    chat("three answers", {"n": 3}, "one answer is given"),
    chat("JSON as the answer", {"response_format": {"type": "json_object"}}, "answers are text"),
    chat("field that nobody has", {"best_of": 2}, "unknown field 'best_of'"),
    chat("NUL in a message", {"messages": [{"role": "user", "content": "a\0b"}]}, "NUL character"),
    chat("chat cut off", b'{"model": "freshet", "mess', "not JSON in UTF-8", 400, "malformed"),
    chat(
        "chat as text", b"Hello?", "use application/json", 415, "unsupported-media-type", {"Content-Type": "text/plain"}
    ),
    chat("tenant that nobody has, in a chat", {}, "is unknown here", headers={"Freshet-Tenant": "nobody"}),
)
TEXTS = (
    embed("no texts", [], "1 to 64 texts"),
    embed("300 texts", ["x"] * 300, "1 to 64 texts"),
    embed("an empty text", [""], "the text is empty"),
    embed("token numbers", [[1, 2, 3]], "token numbers are not taken"),
    embed("200,000 characters", "x" * 200_000, "more than 64000 characters"),
    embed("other dimensions", "x", "leave dimensions out", dimensions=8),
    Http("model that is none", "GET", "/v1/models/gpt-4o", 404, "model_not_found", "there are freshet"),
)
TABLE = {"Chat completions": CHATS, "Embeddings and models": TEXTS}
