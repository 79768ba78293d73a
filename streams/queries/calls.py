"""A call of a model, as traces tell it: names of OpenTelemetry's GenAI conventions, and no word of what was said."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.errors import ConnectorError
from runtime import tracing

QUOTING = "extractive"  # the answer model that calls nobody


@contextmanager
def model_call(model: str, attempt: int) -> Iterator[None]:
    """A try at an answer by a model."""
    if not tracing.on():
        yield
        return
    name, attributes = "freshet.quote", dict[str, tracing.Value]()
    if model != QUOTING:
        name = f"chat {model}"
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model}
    attributes["freshet.attempt"] = attempt
    with tracing.span(name, "internal" if model == QUOTING else "client", attributes=attributes) as span:
        try:
            yield
        except ConnectorError as error:
            span.fail(error.reason)
            raise
