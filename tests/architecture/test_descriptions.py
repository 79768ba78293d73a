"""The AsyncAPI and OpenAPI documents in docs/: right by their own rules, and complete."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from litestar.routes import HTTPRoute
from openapi_spec_validator import OpenAPIV31SpecValidator

from cli.asyncapi import name_of
from cli.reference import ROOT, records
from cli.topics import plans_of
from connectors.memory.manifests import MemoryManifests
from connectors.memory.webhooks import MemoryWebhooks
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from runtime.settings import Settings
from streams.topology import STAGES
from topics import registry
from topics.codec import SCHEMA_VERSION, schema_of
from topics.headers import SCHEMA, Hop
from topics.retry import Retry

ASYNC: dict[str, Any] = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
OPEN: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
_OFFICIAL = Path(__file__).parent / "asyncapi" / "3.0.0.json.gz"


def references(value: Any) -> set[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_asyncapi_is_what_its_schema_says() -> None:
    """AsyncAPI's official schema takes the document."""
    official = json.loads(gzip.decompress(_OFFICIAL.read_bytes()))
    errors = list(jsonschema.Draft7Validator(official).iter_errors(ASYNC))
    assert not errors, [f"{list(e.absolute_path)}: {e.message[:200]}" for e in errors]


def test_openapi_is_what_its_specification_says() -> None:
    """The validator of OpenAPI 3.1 finds nothing, and nothing was forgotten: every route of the gateway is there."""
    errors = list(OpenAPIV31SpecValidator(OPEN).iter_errors())
    assert not errors, [f"{list(e.absolute_path)}: {e.message[:200]}" for e in errors]
    app = create_app(Settings(), MemoryManifests(), MemoryLog(), webhooks=MemoryWebhooks())
    routes = {route.path_format for route in app.routes if isinstance(route, HTTPRoute)}
    assert routes - set(OPEN["paths"]) == {"/docs", "/schema/openapi.json"}, "describe a new route by opt['doc']"


@pytest.mark.parametrize("document", [ASYNC, OPEN], ids=["asyncapi", "openapi"])
def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """Every reference points into the document itself, at something."""
    found = references(document)
    assert len(found) > 10
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_every_topic_is_a_channel() -> None:
    """A channel for each topic, with the address, partitions and settings that `topics apply` makes."""
    plans = dict(zip(map(name_of, registry.ALL), plans_of(Settings()), strict=True))
    assert set(ASYNC["channels"]) == set(plans)
    for name, plan in plans.items():
        channel = ASYNC["channels"][name]
        given = {key: parameter["default"] for key, parameter in channel["parameters"].items()}
        assert channel["address"].format(**given) == plan.name
        kafka = channel["bindings"]["kafka"]
        assert (kafka["partitions"], kafka["replicas"]) == (plan.partitions, plan.replication)
        told = kafka["topicConfiguration"] | {"cleanup.policy": kafka["topicConfiguration"]["cleanup.policy"][0]}
        assert {key: str(value) for key, value in told.items()} == plan.config


def test_every_stage_is_there() -> None:
    """Each stage reads what the map says, as a member of its group; whoever is named in a spec has its operation."""
    for stage in STAGES:
        if stage.reads is registry.SOURCES:  # the user's own topics, which are not ours to describe
            continue
        operation = ASYNC["operations"][f"{stage.name}.receive.{name_of(stage.reads)}"]
        group = operation["bindings"]["kafka"]["groupId"]["default"]
        assert group == registry.group_of("freshet", stage.name, "g1")
        assert operation["channel"]["$ref"] == f"#/channels/{name_of(stage.reads)}"
    assert {"gateway.send.documents", "index.send.index-events", "gateway.receive.answers"} <= set(ASYNC["operations"])
    assert "bindings" not in ASYNC["operations"]["retrieve.receive.index-events"], "it follows, without a group"


@pytest.mark.parametrize("record", records(), ids=lambda r: r.__name__)
def test_messages_are_what_we_write(record: Any) -> None:
    """A record's example fits the payload of its message, by draft 7 too, and its schema header is the codec's."""
    message = ASYNC["components"]["messages"][record.__name__]
    example = ROOT / "topics" / "examples" / f"{record.__name__}.v{SCHEMA_VERSION}.json"
    schema = {**message["payload"], "components": ASYNC["components"]}
    for draft in (jsonschema.Draft7Validator, jsonschema.Draft202012Validator):
        draft(schema).validate(json.loads(example.read_text()))
        assert not draft(schema).is_valid([]), "a schema that takes anything says nothing"
    assert message["headers"]["properties"][SCHEMA]["const"] == schema_of(record)


def test_headers_are_those_that_are_written() -> None:
    """What a hop and a retry write is described, and what a retry must have is required."""
    hop = Hop(job_id="j", deadline=1, reply_partition=0, tenant="t", principals=["p"]).headers()
    for name in ("Question", "Retrieval", "AnswerEvent"):
        assert set(hop) <= set(ASYNC["components"]["messages"][name]["headers"]["properties"])
    times = dict.fromkeys(("timestamp", "not_before", "first_failed", "last_failed"), 0)
    retry = Retry(topic="t", partition=0, offset=0, attempts=1, reason="r", **times).headers()
    assert set(ASYNC["components"]["messages"]["chunks.retry.record"]["headers"]["required"]) == set(retry)
