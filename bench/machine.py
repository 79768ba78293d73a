"""What a figure depends on: the machine's features and the versions, and nothing that names the machine."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from connectors.encoders.report import has_bf16
from connectors.encoders.report import machine as encoder_machine

_PACKAGES = (
    "torch", "sentence-transformers", "openvino", "transformers", "tokenizers", "numpy", "confluent-kafka",
    "faust-streaming", "aiokafka", "weaviate-client", "redis", "litestar",
)  # fmt: skip


def features() -> dict[str, Any]:
    """CPU model, cores, memory in GiB, kernels that an encoder can use, load at the start, versions."""
    found = encoder_machine()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "features": found,
        "avx512_bf16": "avx512_bf16" in found,
        "amx": "amx_bf16" in found,
        "bf16": has_bf16(found),
        "gpus": _gpus(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
        return match.group(1).strip() if match else "unknown"
    except OSError:  # macOS
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _gpus() -> list[str]:
    """Models of the NVIDIA GPUs."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return []
    return shown.stdout.split("\n")[:-1] if shown.returncode == 0 else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
