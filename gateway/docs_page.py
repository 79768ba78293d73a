"""The page at /docs: the OpenAPI document as plain HTML, complete in itself.

Litestar's own pages load their scripts from content delivery networks; this one works without internet.
"""

import json
import re
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:0}code,pre{font:13px/1.4 ui-monospace,monospace;background:#f4f4f4;border-radius:4px}
pre{padding:.75rem;overflow:auto}code{padding:.1rem .3rem}
details{border:1px solid #ddd;border-radius:6px;margin:.5rem 0}
summary{padding:.5rem .75rem;cursor:pointer}details>div{padding:0 .75rem .5rem}.verb{display:inline-block;width:4.5rem;
font-weight:700}table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .75rem .15rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code,pre{background:#262626}
details{border-color:#444}a{color:#8bf}}
"""


def render(document: dict[str, Any]) -> bytes:
    """The page."""
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> {_prose(schema.get("description", ""))}'
        f"</summary><div><pre>{escape(json.dumps(schema, indent=2))}</pre></div></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])}</h1>"
        f"<p>{escape(info['description'])} Version {escape(info['version'])}, "
        f'<a href="/schema/openapi.json">openapi.json</a></p><h2>Operations</h2>{operations}'
        f"<h2>Schemas</h2>{schemas}</html>"
    ).encode()


def _prose(text: str) -> str:
    """Docstrings mark code with one or two backticks."""
    return re.sub(r"(``?)(.+?)\1", r"<code>\2</code>", escape(text))


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{_prose(operation['description'])}</p>" if "description" in operation else ""]
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
            f"<td>{_prose(p['description'])}</td></tr>"
            for p in parameters
        )
        parts.append(f"<h4>Parameters</h4><table>{rows}</table>")
    if body := operation.get("requestBody"):
        parts.append(f"<h4>Body</h4><p>{_content(body['content'])}</p>")
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_prose(response['description'])}</td>"
        f"<td>{_content(response.get('content', {}))}</td></tr>"
        for status, response in sorted(operation["responses"].items())
    )
    parts.append(f"<h4>Responses</h4><table>{rows}</table>")
    return (
        f'<details><summary><span class="verb">{escape(method.upper())}</span><code>{escape(path)}</code> '
        f"{_prose(operation['summary'])}</summary><div>{''.join(parts)}</div></details>"
    )


def _content(content: dict[str, Any]) -> str:
    shown = []
    for media_type, body in content.items():
        name = body["schema"].get("$ref", "").rpartition("/")[2]
        link = f' <a href="#{escape(name)}">{escape(name)}</a>' if name else ""
        shown.append(f"<code>{escape(media_type)}</code>{link}")
    return ", ".join(shown)
