"""Whatever the OpenAPI document allows, and whatever it does not, is answered as it says, by the real system."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from deploy.local.programs import ROOT
from tests.e2e.conftest import System

pytestmark = pytest.mark.servers
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12"))  # of each operation and mode
SECONDS = 30.0  # for one answer
METHODS = {"get", "put", "post", "delete", "head", "patch"}
_DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())  # a test says that it is the gateway's own
_SCHEMA = schemathesis.openapi.from_dict(_DOCUMENT)
# Left out: rules that no JSON schema can say (docs/bad-input.md has each), and keys, for which this stack does not ask.
_LEFT_OUT: Any = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance", "ignored_auth"])
_TOLD_BY_LINE = "/v1/documents"  # what is wrong with a line of a bulk request is told beside the others, in a 207


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """A body of one or more lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in (value if isinstance(value, list) else [value]))


def asked() -> Iterator[Any]:
    """Each operation with what it allows, and those that can be asked wrongly with what they forbid."""
    for path, item in _DOCUMENT["paths"].items():
        for method in sorted(METHODS & item.keys()):
            yield pytest.param(path, method, GenerationMode.POSITIVE, id=f"{method} {path}, allowed")
            if path == _TOLD_BY_LINE and method == "post":
                continue
            if "requestBody" in item[method] or any(p["in"] != "header" for p in item[method].get("parameters", ())):
                yield pytest.param(path, method, GenerationMode.NEGATIVE, id=f"{method} {path}, forbidden")


@pytest.mark.parametrize(("path", "method", "mode"), asked())
def test_every_answer_is_as_described(system: System, path: str, method: str, mode: GenerationMode) -> None:
    """No 5xx, no status, media type, header or shape that the document does not name; what it forbids is refused."""
    cases: st.SearchStrategy[Case[Any]] = _SCHEMA[path][method.upper()].as_strategy(generation_mode=mode)

    @seed(1)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def answered(case: Case[Any]) -> None:
        assume(mode.is_positive or case.media_type in (None, "application/json"))  # any bytes are a text
        case.call_and_validate(base_url=system.stack.door, timeout=SECONDS, excluded_checks=_LEFT_OUT)

    answered()
