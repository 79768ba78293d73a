"""deploy/chaos-mesh: manifests that Chaos Mesh takes, of the faults that the campaign knows.

The shapes below were written down from the CRDs of Chaos Mesh 2.8: what a kind must and may say.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chaos.faults import FAULTS
from deploy.local.programs import MAPPER, PURGER, ROOT, WORKERS

FOLDER = ROOT / "deploy" / "chaos-mesh"
SERVERS = {"kafka", "weaviate", "redis-state", "redis-cache", "llm"}
PROGRAMS = {"gateway", *WORKERS, MAPPER, PURGER}
DURATION = r"^\d+(ms|s|m|h)$"
TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1}


def shape(must: str, /, **may: Any) -> dict[str, Any]:
    """An object that has these fields, of which some must be there, and no other."""
    return {"type": "object", "required": must.split(), "properties": may, "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


SELECTOR = shape("labelSelectors", labelSelectors={"type": "object", "additionalProperties": TEXT, "minProperties": 1})
TARGETS = {"mode": one_of("one", "all"), "selector": SELECTOR, "duration": {"type": "string", "pattern": DURATION}}
CONTAINERS = {**TARGETS, "containerNames": {"type": "array", "items": TEXT, "minItems": 1}}
SPECS: dict[str, dict[str, Any]] = {
    "PodChaos": shape(
        "action mode selector", **CONTAINERS, action=one_of("container-kill", "pod-kill", "pod-failure"),
        gracePeriod={"type": "integer", "minimum": 0},
    ),
    "NetworkChaos": shape(
        "action mode selector", **TARGETS, action=one_of("delay", "loss", "partition", "bandwidth", "corrupt"),
        direction=one_of("to", "from", "both"), target=shape("mode selector", mode=TARGETS["mode"], selector=SELECTOR),
        delay=shape("latency", latency={"pattern": DURATION}, jitter={"pattern": DURATION}, correlation=TEXT),
        bandwidth=shape("rate limit buffer", rate={"pattern": r"^\d+[kmg]?(bps|bit)$"}, limit=NUMBER, buffer=NUMBER),
        loss=shape("loss", loss=TEXT, correlation=TEXT),
    ),
    "IOChaos": shape(
        "action mode selector volumePath", **CONTAINERS, action=one_of("latency", "fault"), volumePath=TEXT,
        path=TEXT, errno=NUMBER, percent=NUMBER, delay={"pattern": DURATION},
        methods={"type": "array", "items": one_of("read", "write", "create", "mkdir", "rename", "unlink", "fsync")},
    ),
    "TimeChaos": shape(
        "mode selector timeOffset", **CONTAINERS, timeOffset={"pattern": r"^-?\d+(ms|s|m|h)$"},
        clockIds={"type": "array", "items": one_of("CLOCK_REALTIME", "CLOCK_MONOTONIC"), "minItems": 1},
    ),
    "StressChaos": shape(
        "mode selector stressors", **CONTAINERS,
        stressors=shape("", cpu=shape("workers", workers=NUMBER, load=NUMBER), memory=shape("workers", workers=NUMBER)),
    ),
}  # fmt: skip
NEEDS = {  # of actions
    "delay": "delay", "bandwidth": "bandwidth", "loss": "loss", "container-kill": "containerNames",
    "fault": "errno", "latency": "delay",
}  # fmt: skip
FIELDS = {kind: kind[0].lower() + kind[1:] if kind != "IOChaos" else "ioChaos" for kind in SPECS}


def documents(file: Path) -> Iterator[dict[str, Any]]:
    yield from filter(None, yaml.safe_load_all(file.read_text()))


FILES = sorted(FOLDER.glob("*.yaml"))
SINGLE = {
    document["metadata"]["name"]: document
    for file in FILES
    if file.stem not in ("campaign", "schedule")
    for document in documents(file)
}
(WORKFLOW,) = documents(FOLDER / "campaign.yaml")
(SCHEDULE,) = documents(FOLDER / "schedule.yaml")


def check(kind: str, spec: dict[str, Any]) -> None:
    """The spec has the shape of its kind, what its action needs, and strikes pods of this system alone."""
    jsonschema.validate(spec, SPECS[kind])
    needed = NEEDS.get(spec.get("action", ""))
    assert needed is None or needed in spec, needed
    for selector in (spec["selector"], spec.get("target", spec)["selector"]):
        labels = selector["labelSelectors"]
        component = labels.get("app.kubernetes.io/component")
        if labels.get("app.kubernetes.io/name") == "freshet":
            assert component in {None, *PROGRAMS}, labels
        else:
            assert labels.get("app.kubernetes.io/part-of") == "freshet" and component in SERVERS, labels
    assert set(spec.get("containerNames", [])) <= PROGRAMS | SERVERS


@pytest.mark.parametrize("name", SINGLE)
def test_a_manifest_is_what_its_kind_says(name: str) -> None:
    """Its fields are those of its CRD, its names are those of its fault, and what can be held has an end."""
    document = SINGLE[name]
    kind, labels, spec = document["kind"], document["metadata"]["labels"], document["spec"]
    assert document["apiVersion"] == "chaos-mesh.org/v1alpha1"
    assert name == f"{labels['fault']}-{labels['target']}"
    check(kind, spec)
    assert ("duration" in spec) == (spec.get("action") not in ("container-kill", "pod-kill"))
    struck = (spec.get("target") or spec)["selector"]["labelSelectors"]
    assert struck["app.kubernetes.io/component"] == labels["target"]


def test_a_slip_is_seen() -> None:
    """The shapes refuse what the CRDs refuse: an unknown field, an unknown action, a selector that is not there."""
    sound = SINGLE["latency-kafka"]["spec"]
    check("NetworkChaos", sound)
    for broken in (
        {**sound, "lateny": {"latency": "1s"}},
        {**sound, "action": "slow"},
        {name: value for name, value in sound.items() if name != "selector"},
        {**sound, "selector": {"labelSelectors": {}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check("NetworkChaos", broken)
    with pytest.raises(AssertionError):
        check("NetworkChaos", {**sound, "selector": {"labelSelectors": {"app": "somebody-elses"}}})


def test_the_workflow_strings_manifests() -> None:
    """Each step does what the manifest of its name does, for as long, and each rest and entry is there."""
    templates = {template["name"]: template for template in WORKFLOW["spec"]["templates"]}
    assert len(templates) == len(WORKFLOW["spec"]["templates"]), "a name stands twice"
    entry = templates.pop(WORKFLOW["spec"]["entry"])
    assert entry["templateType"] == "Serial" and set(entry["children"]) == set(templates)
    assert entry["children"][::2] == ["rest"] * len(templates), "the system comes to rest between any two"
    rest = templates.pop("rest")
    assert rest["templateType"] == "Suspend" and re.match(DURATION, rest["deadline"])
    for name, template in templates.items():
        kind, spec = SINGLE[name]["kind"], dict(SINGLE[name]["spec"])
        lasts = spec.pop("duration", None)
        assert template["templateType"] == kind and lasts in (None, template["deadline"]), name
        assert template[FIELDS[kind]] == spec, name


def test_the_schedule_kills_programs_of_ours() -> None:
    """Every program can be the one; no server is."""
    spec = SCHEDULE["spec"]
    assert len(spec["schedule"].split()) == 5 and spec["concurrencyPolicy"] == "Forbid"
    check(spec["type"], spec[FIELDS[spec["type"]]])
    assert set(spec["podChaos"]["containerNames"]) == PROGRAMS


def rows(heading: str) -> dict[str, str]:
    """A table of the README that stands under this heading: what is between backticks in its first cell, the last."""
    text = (FOLDER / "README.md").read_text().split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    cells = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {name: row[-1] for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


def test_every_fault_is_here_or_has_a_reason() -> None:
    """A fault of the campaign has a manifest of its name, or the README says why not; none has both."""
    here = {f"{d['metadata']['labels']['fault']}:{d['metadata']['labels']['target']}" for d in SINGLE.values()}
    told, reasons = rows("What is here"), rows("What is not here, and why")
    assert set(told) == {name.partition(":")[0] for name in here}
    assert all(len(reason) > 20 for reason in reasons.values())
    for fault in FAULTS:
        kind, _, target = fault.name.partition(":")
        found = [fault.name in here, kind in reasons, fault.name in reasons, f"*:{target}" in reasons]
        assert any(found), f"{fault.name} has neither a manifest nor a reason in {FOLDER / 'README.md'}"
        assert not (found[0] and any(found[1:])), f"{fault.name} has a manifest, and a reason why it has none"
