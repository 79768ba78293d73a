"""`freshet reference`: write the references that are generated from the code.

docs/settings.md, docs/metrics.md, docs/topics.md, docs/asyncapi.json, docs/openapi.json, topics/schemas/*.json and the
settings in deploy/compose.  A test says when they are out of date.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from litestar import Litestar
from prometheus_client.metrics import MetricWrapperBase

from cli import asyncapi
from connectors.memory.manifests import MemoryManifests
from connectors.memory.webhooks import MemoryWebhooks
from deploy.compose import settings as compose
from gateway import openapi
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from runtime import metrics
from runtime.settings import Settings
from topics import registry
from topics.codec import SCHEMA_VERSION
from topics.spec import DAY, HOUR

ROOT = Path(__file__).resolve().parents[1]


def reference(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 where a file is stale.")] = False,
) -> None:
    """Write the references that are generated from the code (for developers)."""
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            typer.echo(f"out of date: {path.relative_to(ROOT)} (run `freshet reference`)")
        raise typer.Exit(1 if stale else 0)
    for path, text in generated().items():
        path.write_text(text)


def generated() -> dict[Path, str]:
    """Every generated file and its text."""
    files = {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "metrics.md": metrics_page(),
        ROOT / "docs" / "topics.md": topics_page(),
        ROOT / "docs" / "asyncapi.json": _json(asyncapi.describe(Settings())),
        ROOT / "docs" / "openapi.json": _json(openapi.describe(_door(), keyed=True)),
        **compose.files(),
    }
    for record in records():
        schema = _json(msgspec.json.schema(record))
        files[ROOT / "topics" / "schemas" / f"{record.__name__}.v{SCHEMA_VERSION}.json"] = schema
    return files


def _door() -> Litestar:
    return create_app(Settings(), MemoryManifests(), MemoryLog(), webhooks=MemoryWebhooks())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def records() -> list[type[msgspec.Struct]]:
    """Every record of every topic, once."""
    return list(dict.fromkeys(record for spec in registry.ALL for record in spec.records))


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. `freshet settings` shows values and where they come from.",
        "A value may also lie in a file: `<VARIABLE>_FILE` names it (for mounted secrets).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for variable, value, _, description in Settings().describe({}):
        lines.append(f"| `{variable}` | {'' if value is None else f'`{value}`'} | {description} |")
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "Every worker serves `/metrics` on its `FRESHET_METRICS_PORT`, the gateway on its own port.",
        "`cache_hit_ratio` = `cache_hits_total / (cache_hits_total + cache_misses_total)`;",
        "`stale_passage_ratio` = `stale_passages_total / served_passages_total`.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            lines.append(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |")
    return "\n".join(lines) + "\n"


def topics_page() -> str:
    lines = [
        "# Topics",
        "",
        "Every name has the prefix `FRESHET_PREFIX` and a dot in front; `{gen}` is the generation.",
        "Records are JSON; the header `freshet-schema` names record and schema version, such as `DocumentPart/1`.",
        "Unknown fields are tolerated, unknown schema versions are dead-lettered.",
        "Schemas lie in `topics/schemas/`, one example of each record in `topics/examples/`.",
        "For tools, the same as [AsyncAPI 3](asyncapi.json): channels, operations, messages, headers, settings.",
        "",
        "| topic | what it holds | key | records | written by | read by | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in registry.ALL:
        cells = [
            f"`{spec.name}`",
            spec.purpose,
            spec.key,
            ", ".join(f"`{record.__name__}`" for record in spec.records) or "as they came",
            ", ".join(spec.writers),
            ", ".join((*spec.readers, *spec.followers)),
            "compacted" if spec.compacted else _duration(spec.retention_ms),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for record in records():
        lines += ["", f"## {record.__name__}", "", *_prose(record), "", "| field | type |", "|---|---|"]
        lines += [f"| `{field.encode_name}` | {_type(field.type)} |" for field in msgspec.structs.fields(record)]
    return "\n".join(lines) + "\n"


def _duration(millis: int) -> str:
    return f"{millis // DAY} days" if millis >= DAY else f"{millis // HOUR} hours"


def _prose(record: type[msgspec.Struct]) -> list[str]:
    text = (record.__doc__ or "").strip()
    return [" ".join(line.split()) for line in text.replace("``", "`").splitlines() if line.strip()]


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else annotation
    return (
        str(text)
        .replace("typing.", "")
        .replace("topics.documents.", "")
        .replace("topics.queries.", "")
        .replace("|", "or")
    )
