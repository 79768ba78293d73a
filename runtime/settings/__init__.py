"""All settings: one frozen tree, read once from the environment and handed down as values.

Every value is ``FRESHET_*``; a value may also lie in a file (``FRESHET_<NAME>_FILE``, for mounted secrets).
docs/settings.md is generated from the descriptions here.
"""

from runtime.settings.branch import PREFIX, SettingsError
from runtime.settings.edge import Edge
from runtime.settings.lanes import Cache, Documents, Encoder, Jobs, Keyword, Queries, Rerank
from runtime.settings.processes import Api, Gateway, Otlp, Worker
from runtime.settings.servers import Kafka, Llm, Redis, Weaviate
from runtime.settings.tree import Settings, variable_of
from runtime.settings.webhooks import Webhook

__all__ = [
    "PREFIX",
    "Api",
    "Cache",
    "Documents",
    "Edge",
    "Encoder",
    "Gateway",
    "Jobs",
    "Kafka",
    "Keyword",
    "Llm",
    "Otlp",
    "Queries",
    "Redis",
    "Rerank",
    "Settings",
    "SettingsError",
    "Weaviate",
    "Webhook",
    "Worker",
    "variable_of",
]
