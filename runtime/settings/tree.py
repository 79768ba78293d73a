"""The whole tree, and how it is read."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, SecretStr, ValidationError

from runtime.settings.branch import PREFIX, Branch, SettingsError
from runtime.settings.edge import Edge
from runtime.settings.lanes import Cache, Documents, Encoder, Jobs, Keyword, Queries, Rerank
from runtime.settings.processes import Api, Gateway, Otlp, Worker
from runtime.settings.servers import Kafka, Llm, Redis, Weaviate
from runtime.settings.webhooks import Webhook
from runtime.sources import Source, read_sources

# Variables are FRESHET_<branch>_<field>; these branches stand without their own name.
_BARE = frozenset({"kafka", "documents", "worker"})


class Settings(Branch):
    """The whole tree."""

    kafka: Kafka = Kafka()
    weaviate: Weaviate = Weaviate()
    redis: Redis = Redis()
    encoder: Encoder = Encoder()
    documents: Documents = Documents()
    queries: Queries = Queries()
    job: Jobs = Jobs()
    keyword: Keyword = Keyword()
    rerank: Rerank = Rerank()
    cache: Cache = Cache()
    edge: Edge = Edge()
    llm: Llm = Llm()
    webhook: Webhook = Webhook()
    gateway: Gateway = Gateway()
    api: Api = Api()
    worker: Worker = Worker()
    otlp: Otlp = Otlp()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the environment once; :class:`SettingsError` names each variable that is wrong."""
        env = os.environ if env is None else env
        tree: dict[str, dict[str, str]] = {}
        known = set()
        for branch, name, variable in cls.variables():
            known |= {variable, f"{variable}_FILE"}
            value = _read(env, variable)
            if value is not None:
                tree.setdefault(branch, {})[name] = value
        for variable in env:
            if variable.startswith(PREFIX) and variable not in known | _FOREIGN:
                raise SettingsError(f"{variable} is not a setting: `freshet settings` lists all")
        try:
            settings = cls.model_validate(tree)
        except ValidationError as error:
            raise SettingsError("; ".join(map(_told, error.errors(include_input=False)))) from None
        _ = settings.sources  # complains
        return settings

    @classmethod
    def variables(cls) -> Iterator[tuple[str, str, str]]:
        """(branch, field, variable) of every setting."""
        for branch, field in cls.model_fields.items():
            assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            for name in field.annotation.model_fields:
                yield branch, name, variable_of(branch, name)

    def describe(self, env: Mapping[str, str] | None = None) -> Iterator[tuple[str, Any, str, str]]:
        """(variable, value, source, description) of every setting; secrets stay hidden."""
        env = os.environ if env is None else env
        for branch, name, variable in self.variables():
            part = getattr(self, branch)
            value, field = getattr(part, name), type(part).model_fields[name]
            source = "environment" if variable in env else "file" if f"{variable}_FILE" in env else "default"
            if source == "default" and value != field.default:
                source = "address"
            if isinstance(value, str) and "\n" in value:
                value = f"({len(value.splitlines())} lines)"
            yield variable, value, source, field.description or ""

    @property
    def secrets(self) -> list[str]:
        """Every value that must not be shown."""
        parts = (getattr(self, branch) for branch in type(self).model_fields)
        values = (getattr(part, name) for part in parts for name in type(part).model_fields)
        whole = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        keys = [endpoint.key for endpoint in self.llm.versions if endpoint.key]
        return [*whole, *keys, *self.otlp.sent_headers.values()]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Topics of the user's own; :class:`SettingsError` for one of ours, which would be read in a circle."""
        found = read_sources(self.documents.sources)
        for source in found:
            if source.topic.startswith(f"{self.kafka.prefix}."):
                raise SettingsError(f"FRESHET_SOURCES: topic {source.topic} is one of Freshet's own")
        return found

    @property
    def tenants(self) -> frozenset[str]:
        return frozenset(t.strip() for t in self.documents.tenants.split(",") if t.strip())


# FRESHET_* variables that other parts of the installation read.
_FOREIGN = frozenset(
    {
        "FRESHET_PORT_BASE",
        "FRESHET_WORKERS",
        "FRESHET_STACK_BROKERS",
        "FRESHET_STACK_STORES",
        "FRESHET_KAFKA_PROXY",
        "FRESHET_CACHE_DIR",
        "FRESHET_TEST_STATE",
    }
)


def variable_of(branch: str, name: str) -> str:
    if branch == "worker" and name == "slot":
        return f"{PREFIX}WORKER_SLOT"
    return f"{PREFIX}{name}".upper() if branch in _BARE else f"{PREFIX}{branch}_{name}".upper()


def _read(env: Mapping[str, str], variable: str) -> str | None:
    path = env.get(f"{variable}_FILE")
    if path is None:
        return env.get(variable)
    if variable in env:
        raise SettingsError(f"{variable} and {variable}_FILE are both set: which one holds is not guessed")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{variable}_FILE: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}_FILE: {path} is not UTF-8 text") from None


def _told(error: Any) -> str:
    """A complaint with its variable; one about several names them itself."""
    place, said = error["loc"], error["msg"].removeprefix("Value error, ")
    return said if len(place) < 2 else f"{variable_of(*map(str, place[:2]))}: {said}"
