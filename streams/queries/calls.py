"""A call of a model, as traces tell it: names of OpenTelemetry's GenAI conventions, and no word of what was said."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.errors import ConnectorError
from runtime import tracing
from runtime.endpoints import QUOTING
from topics.queries import Usage


@contextmanager
def model_call(model: str, attempt: int, provider: str) -> Iterator[None]:
    """A try at an answer by a model."""
    if not tracing.on():
        yield
        return
    name, attributes = "freshet.quote", dict[str, tracing.Value]()
    if model != QUOTING:
        name = f"chat {model}"
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model}
    attributes["freshet.attempt"] = attempt
    with tracing.span(name, "internal" if model == QUOTING else "client", attributes=attributes) as span:
        try:
            yield
        except ConnectorError as error:
            span.fail(error.reason)
            raise


def used(usage: Usage | None, silence: float | None) -> None:
    """What the call that is under way took; ``silence`` are the seconds to its first piece of text."""
    if silence is not None:
        tracing.current().set({"gen_ai.response.time_to_first_chunk": silence})
    if usage is not None:
        tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        tracing.current().set({f"gen_ai.usage.{kind}": count for kind, count in tokens.items()})
