"""What figures depend on besides the documents: system and versions, and nothing that names the machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = (
    "freshet-rag", "numpy", "openvino", "sentence-transformers", "tantivy", "tokenizers", "torch", "transformers",
    "weaviate-client",
)  # fmt: skip


def described() -> dict[str, Any]:
    """System, cores, Python and packages."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
