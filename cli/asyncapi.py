"""AsyncAPI 3 from the topic specs: a channel for each topic, an operation for each stage that reads or writes it.

Schemas come from the records by msgspec, as the codec reads them; settings of the topics are those of `topics apply`.
"""

from collections.abc import Iterable
from inspect import getdoc
from typing import Any

import msgspec

from cli.topics import plans_of
from runtime.settings import Settings
from streams.topology import STAGES
from topics import headers, registry
from topics.codec import schema_of
from topics.provision import TopicPlan
from topics.retry import Retry, header_of
from topics.spec import TopicSpec

_BINDING = "0.5.0"
_OUTSIDE = frozenset({"any producer", "any consumer", "operator", "every worker"})  # not an application of ours
_TEXT = {"type": "string"}
_MILLIS = {"type": "string", "pattern": "^[0-9]+$", "description": "ms since 1970"}
_HEADERS: dict[str, dict[str, Any]] = {
    headers.SCHEMA: {**_TEXT, "description": "Record and schema version; without it the topic's first record is meant"},
    headers.TOKEN: {**_TEXT, "description": "The version's place in `documents`, kept through retries and redrives"},
    headers.PUBLISHED_AT: {**_MILLIS, "description": "Event time at the source, ms since 1970"},
    headers.MIRRORED: {**_TEXT, "description": "On a null in an earlier epoch: version of the later delete it copies"},
    headers.CONTENT_TYPE: {**_TEXT, "description": "Media type; what is not JSON is the document itself"},
    headers.TITLE: {**_TEXT, "description": "Beside a body that is not JSON"},
    headers.URI: {**_TEXT, "description": "Beside a body that is not JSON"},
    headers.METADATA: {**_TEXT, "description": "Beside a body that is not JSON: a flat map as JSON"},
    headers.ACCESS: {**_TEXT, "description": "Beside a body that is not JSON: a list of principals as JSON"},
    headers.TRACEPARENT: {**_TEXT, "description": "W3C trace context"},
    headers.JOB: {**_TEXT, "description": "Job id"},
    headers.TENANT: _TEXT,
    headers.PRINCIPALS: {**_TEXT, "description": "Of whoever asks: a list as JSON"},
    headers.DEADLINE: {**_MILLIS, "description": "When the work is in vain, ms since 1970"},
    headers.WEBHOOK: {**_TEXT, "description": "Id of the webhook that is told how the job ends; `*` for all"},
    headers.REPLY_PARTITION: {**_TEXT, "description": "Partition of `answers` that the asking gateway reads"},
    headers.MODE: {**_TEXT, "description": "Where no answer is wanted: `retrieve` or `embed`"},
    headers.EVENT: {**_TEXT, "description": "Type of an answer event"},
    headers.PRIORITY: {**_TEXT, "enum": ["interactive", "batch"], "description": "`interactive` when absent"},
}
_DOCUMENT = (headers.PUBLISHED_AT, headers.MIRRORED, headers.CONTENT_TYPE, headers.TITLE, headers.URI)
_PUBLISHED = (headers.SCHEMA, *_DOCUMENT, headers.METADATA, headers.ACCESS, headers.TRACEPARENT)
_PART = (headers.SCHEMA, headers.TOKEN, headers.PUBLISHED_AT, headers.TRACEPARENT)
_ASKED = (headers.JOB, headers.TENANT, headers.PRINCIPALS, headers.DEADLINE, headers.REPLY_PARTITION, headers.PRIORITY,
          headers.MODE, headers.WEBHOOK)  # fmt: skip
_HOP = (headers.SCHEMA, *_ASKED)


def describe(settings: Settings) -> dict[str, Any]:
    """The whole document."""
    records = list(dict.fromkeys(record for spec in registry.ALL for record in spec.records))
    _, schemas = msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    for spec, plan in zip(registry.ALL, plans_of(settings), strict=True):
        mine = _messages(spec)
        messages |= mine
        channels[name_of(spec)] = _channel(spec, plan, mine)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Freshet",
            "version": "1",
            "description": "Answers as fresh as the documents behind them. Keys, partitions and headers are part of"
            " the contract: partitions are chosen by murmur2 of the document's id, see publishing.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "brokers": {
                "host": "{brokers}",
                "protocol": "kafka",
                "variables": {"brokers": {"default": settings.kafka.brokers, "description": "FRESHET_BROKERS"}},
            }
        },
        "channels": channels,
        "operations": dict(_operations(settings)),
        "components": {"schemas": schemas, "messages": messages},
    }


def name_of(spec: TopicSpec) -> str:
    """A topic's channel: its name without prefix and generation."""
    return spec.name.replace(".{gen}", "")


def _channel(spec: TopicSpec, plan: TopicPlan, messages: Iterable[str]) -> dict[str, Any]:
    parameters = {"prefix": {"description": "FRESHET_PREFIX", "default": Settings().kafka.prefix}}
    if "{gen}" in spec.name:
        parameters["gen"] = {"description": "The generation", "default": Settings().documents.generation}
    config: dict[str, Any] = {
        key: int(value) if value.isdecimal() else [value] if key == "cleanup.policy" else value
        for key, value in plan.config.items()
    }
    return {
        "address": f"{{prefix}}.{spec.name}",
        "description": spec.purpose,
        "parameters": parameters,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "partitions": plan.partitions,
                "replicas": plan.replication,
                "topicConfiguration": config,
                "bindingVersion": _BINDING,
            }
        },
    }


def _messages(spec: TopicSpec) -> dict[str, Any]:
    """Every kind of record in a topic."""
    if spec in registry.RETRIES.values():
        told = {header_of(field): _TEXT for field in Retry.__struct_fields__}
        return {f"{name_of(spec)}.record": _as_it_came(spec, {"properties": told, "required": sorted(told)})}
    if not spec.records:
        told = {"^__connect\\.errors\\.": _TEXT, "^freshet-dlq-": _TEXT}
        return {f"{name_of(spec)}.letter": _as_it_came(spec, {"patternProperties": told})}
    taken: tuple[str, ...] = _PUBLISHED if spec is registry.DOCUMENTS else _PART if spec.null else _HOP
    if spec is registry.ANSWERS:
        taken = (*_HOP, headers.EVENT)
    if spec in (registry.INDEX_EVENTS, registry.CONTROL):
        taken = (headers.SCHEMA, headers.TRACEPARENT)[: 2 if spec is registry.INDEX_EVENTS else 1]
    if spec is registry.WEBHOOKS:
        taken = (headers.SCHEMA, headers.JOB, headers.TENANT, headers.TRACEPARENT)
    found = {record.__name__: _message(spec, record, taken) for record in spec.records}
    if spec is registry.DOCUMENTS:
        found["RawDocument"] = {
            "name": "RawDocument",
            "summary": "The bytes of a document, of the media type that the header content-type names.",
            "contentType": "application/octet-stream",
            "headers": {**_headers(taken), "required": [headers.CONTENT_TYPE]},
            "payload": {},
            "bindings": _key(spec),
        }
    if spec.null:
        name = f"{name_of(spec)}.null"
        found[name] = {
            "name": name,
            "summary": spec.null,
            "headers": _headers(taken),
            "payload": {"type": "null"},
            "bindings": _key(spec),
        }
    return found


def _message(spec: TopicSpec, record: type[msgspec.Struct], taken: Iterable[str]) -> dict[str, Any]:
    summary, _, rest = (getdoc(record) or "").replace("``", "`").partition("\n")
    told = _headers(taken)
    told["properties"][headers.SCHEMA] = {**told["properties"][headers.SCHEMA], "const": schema_of(record)}
    return {
        "name": record.__name__,
        "summary": summary,
        **({"description": rest.strip()} if rest.strip() else {}),
        "contentType": "application/json",
        "headers": told,
        "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
        "bindings": _key(spec),
    }


def _as_it_came(spec: TopicSpec, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name_of(spec),
        "summary": spec.purpose,
        "contentType": "application/octet-stream",
        "headers": {"type": "object", **told},
        "payload": {},
        "bindings": _key(spec),
    }


def _headers(taken: Iterable[str]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _HEADERS[name] for name in taken}}


def _key(spec: TopicSpec) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": spec.key}, "bindingVersion": _BINDING}}


def _operations(settings: Settings) -> Iterable[tuple[str, dict[str, Any]]]:
    """What each of our applications does, stages in their order first."""
    order = [stage.name for stage in STAGES]
    done = [(who, "receive", spec) for spec in registry.ALL for who in (*spec.readers, *spec.followers)]
    done += [(who, "send", spec) for spec in registry.ALL for who in spec.writers]
    ours = [did for did in done if did[0] not in _OUTSIDE]
    for who, action, spec in sorted(ours, key=lambda did: order.index(did[0]) if did[0] in order else len(order)):
        operation: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name_of(spec)}"},
            "summary": f"`{who}` {'reads' if action == 'receive' else 'writes'} `{spec.name}`",
            "tags": [{"name": who}],
        }
        if action == "receive" and who in order and _is_lane(who, spec):
            group = registry.group_of(settings.kafka.prefix, who, settings.documents.generation)
            binding = {"groupId": {"type": "string", "default": group}, "bindingVersion": _BINDING}
            operation["bindings"] = {"kafka": binding}
        yield f"{who}.{action}.{name_of(spec)}", operation


def _is_lane(stage: str, spec: TopicSpec) -> bool:
    """Whether a stage reads this as a member of its group, and does not only follow it."""
    return (spec, stage) in registry.QUEUES.values()
