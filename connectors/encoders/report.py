"""`encoder.json`: what an export is, and what was measured on it on this machine.

An export counts as there if and only if its report can be read and every file in it has the stated size.
"""

import ctypes
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

REPORT, GRAPH, GRAPH_WEIGHTS, TOKENIZER = (
    "encoder.json",
    "openvino/openvino_model.xml",
    "openvino/openvino_model.bin",
    "tokenizer.json",
)
_ALIKE = 0.9  # of the fastest: less of a difference was chance
MIN_COSINE = 0.999  # to torch fp32; a backend below it is never chosen by itself
_VERSIONS = ("openvino", "optimum-intel", "sentence-transformers", "transformers", "torch")
# What decides which kernels a backend has.
_CPU_FLAGS = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve"}
)


class Measured(msgspec.Struct, frozen=True):
    """One backend on one machine."""

    min_cosine: float
    chunks_per_s: float  # 150-word texts


class Report(msgspec.Struct, frozen=True):
    """Everything a later start must know to run without torch."""

    model: str
    dimension: int
    window: int  # tokens
    pooling: str
    pad_id: int
    files: dict[str, int]  # name -> bytes; empty where the light adapter cannot run this model
    refused: str | None  # why it cannot
    backends: dict[str, Measured]
    machine: list[str]
    versions: dict[str, str]
    chosen: str

    def whole(self, folder: Path) -> bool:
        """Whether every file of the export is there in full."""
        return all(_size(folder / name) == size for name, size in self.files.items())


def read(folder: Path) -> Report | None:
    """The report of a whole export; None where there is none, or a half one."""
    try:
        report = msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError):
        return None
    return report if report.whole(folder) else None


def write(folder: Path, report: Report) -> None:
    """Replace the report in one step."""
    part = folder / f"{REPORT}.{os.getpid()}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    part.replace(folder / REPORT)


def choose(backends: dict[str, Measured]) -> str:
    """The fastest that is exact enough on CUDA, else on the CPU, else fp32 on torch; of alike ones the most exact."""
    exact = {name: measured for name, measured in backends.items() if measured.min_cosine >= MIN_COSINE}
    exact = {name: measured for name, measured in exact.items() if name.startswith("cuda")} or exact
    fastest = max((measured.chunks_per_s for measured in exact.values()), default=0.0)
    alike = [name for name, measured in exact.items() if measured.chunks_per_s >= _ALIKE * fastest]
    return max(alike, key=lambda name: exact[name].min_cosine, default="torch-fp32")


def versions() -> dict[str, str]:
    """Of the packages whose update may change an export."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def machine() -> list[str]:
    """What a measurement depends on, without importing torch: architecture, CPU features, CUDA devices."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # macOS: its architecture says enough
        text = ""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", text, flags=re.MULTILINE)[:1]
    flags = _CPU_FLAGS & set(lines[0].split()) if lines else set()
    return [platform.machine(), *sorted(flags), *["cuda"] * _cuda_devices()]


def has_bf16(features: list[str]) -> bool:
    """Whether the CPU multiplies bf16 by itself; where it is emulated it only costs."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(features)


def _cuda_devices() -> int:
    """Asks the driver, which heeds CUDA_VISIBLE_DEVICES."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
