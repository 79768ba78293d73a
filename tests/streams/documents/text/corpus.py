"""Real documents that any machine with the environment has, not written by us."""

import importlib.metadata
import pydoc
import pydoc_data.topics
from collections.abc import Iterator
from importlib import import_module

MODULES = (
    "argparse ast asyncio.streams collections concurrent.futures datetime decimal difflib email.message enum fractions"
    " ftplib http.client imaplib inspect ipaddress logging mailbox optparse os pathlib pickle random shutil smtplib"
    " socket sqlite3 ssl statistics string subprocess tarfile tempfile threading turtle typing unittest.mock"
    " urllib.request zipfile"
)


def real_documents(least: int, most: int) -> list[tuple[str, str, str]]:
    """(name, text, media type) of every document of least to most words."""
    return [found for found in _all() if least <= len(found[1].split()) <= most]


def _all() -> Iterator[tuple[str, str, str]]:
    for name, text in sorted(pydoc_data.topics.topics.items()):
        yield f"topic {name}", text, "text/plain"
    for module in MODULES.split():
        yield f"module {module}", pydoc.plain(pydoc.render_doc(import_module(module))), "text/plain"
    for found in sorted(importlib.metadata.distributions(), key=lambda found: found.metadata["Name"].lower()):
        described = found.metadata.json  # its description is the package's README
        kind = str(described.get("description_content_type", "text/plain")).partition(";")[0]
        readme = described.get("description")
        if isinstance(readme, str) and kind in ("text/plain", "text/markdown", "text/x-rst"):
            yield f"package {found.metadata['Name']}", readme, "text/plain" if kind == "text/x-rst" else kind
