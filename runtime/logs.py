"""Log lines as JSON on standard error, one event a line; a healthy run logs start, assignment and stop."""

import logging
import sys
from collections.abc import Iterable

import structlog

from runtime import tracing
from runtime.secrets import Redactor


def _traced(log: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the job or document that is being worked on, and its trace."""
    del log, method
    for name, value in tracing.current().logged().items():
        event.setdefault(name, value)
    return event


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    _traced,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # Without local variables, which are shown by default: they hold documents, questions, keys and passwords.
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
]


def configure(level: str, secrets: Iterable[str] = (), **context: str) -> None:
    """Send our logs and those of libraries the same way; ``context`` is bound to every line of this process.

    ``secrets`` are hidden in every line, whoever writes it.
    """
    hide, render = Redactor(secrets), structlog.processors.JSONRenderer()

    def hidden(log: object, method: str, event: structlog.typing.EventDict) -> str:
        return hide(str(render(log, method, event)))

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_SHARED],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, hidden],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("faust", "mode", "aiokafka", "httpx", "httpcore", "openai", "weaviate", "sentence_transformers"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger named after its module."""
    return structlog.stdlib.get_logger(name)
