"""Choose an encoder and open it; `prepare` does beforehand what takes long.

A first start exports and measures in a child process (half a minute); every later one reads the report and starts
without torch, unless torch is what was chosen.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from connectors import ports
from connectors.encoders import report as reports
from connectors.encoders.export import Line, Order
from connectors.encoders.openvino import OpenVinoEncoder
from connectors.encoders.report import MIN_COSINE, Report
from connectors.encoders.sentence_transformer import SentenceTransformerEncoder
from connectors.encoders.weights import Weights, resolve
from connectors.errors import Permanent, Transient
from runtime.logs import logger
from runtime.settings import Encoder as EncoderSettings

_log = logger(__name__)


async def open_encoder(settings: EncoderSettings) -> ports.Encoder:
    """The encoder that settings and machine ask for, loaded; logs once what was chosen and how exact it is.

    Raises :class:`Permanent` where the model or the backend cannot be had here.
    """
    start = time.perf_counter()
    weights, report = await asyncio.to_thread(_prepare, settings, None)
    backend = settings.backend
    if backend == "auto":
        assert report is not None
        backend = report.chosen
    encoder: OpenVinoEncoder | SentenceTransformerEncoder
    if backend.startswith("openvino"):
        assert report is not None
        if report.refused:
            raise Permanent(f"OpenVINO cannot run {weights.name}: {report.refused}", reason="model")
        folder = export_folder(settings, weights)
        tokens, threads = settings.batch_tokens, settings.threads
        encoder = OpenVinoEncoder(folder, report, backend, batch_tokens=tokens, threads=threads)
    else:
        encoder = SentenceTransformerEncoder(
            weights, backend, batch_tokens=settings.batch_tokens, threads=settings.threads
        )
    await encoder.open()
    _announce(encoder, report, time.perf_counter() - start)
    return encoder


def prepare(settings: EncoderSettings, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Export and measure, where that has not been done; returns the report (see `encoder.json`) as a mapping.

    Quick when done, and when a torch backend is set, which needs no export (then only ``model`` and ``chosen``).
    Blocks; raises :class:`ConnectorError`.
    """
    weights, report = _prepare(settings, progress)
    if report is None:
        return {"model": weights.model_id, "chosen": settings.backend}
    return {**msgspec.to_builtins(report), "chosen": report.chosen if settings.backend == "auto" else settings.backend}


def export_folder(settings: EncoderSettings, weights: Weights) -> Path:
    """Where a model's export is kept: one folder for each model and set of package versions."""
    root = settings.export_dir or platformdirs.user_cache_path("freshet") / "encoders"
    stamp = hashlib.sha256(repr(sorted(reports.versions().items())).encode()).hexdigest()[:8]
    return Path(root).expanduser() / f"{weights.model_id.replace('@', '-')}-{stamp}"


def _prepare(settings: EncoderSettings, progress: Callable[[str], None] | None) -> tuple[Weights, Report | None]:
    weights = resolve(settings.model)
    if settings.backend != "auto" and not settings.backend.startswith("openvino"):
        return weights, None
    folder = export_folder(settings, weights)
    report = reports.read(folder)
    if report is None or report.machine != reports.machine():
        report = _in_child(Order(settings.model, str(folder), settings.threads), progress or _log_progress)
    return weights, report


def _in_child(order: Order, progress: Callable[[str], None]) -> Report:
    """Let a process of its own do the work; torch goes when it goes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    package_root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, environment.get("PYTHONPATH")]))
    last = Line(error="it ended without a word", again=True)
    with tempfile.TemporaryFile() as noise:
        command = [sys.executable, "-m", "connectors.encoders.export"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, env=environment)
        with child:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(msgspec.json.encode(order) + b"\n")
            child.stdin.close()
            for line in child.stdout:
                last = msgspec.json.decode(line, type=Line)
                if last.progress:
                    progress(last.progress)
        if last.report is not None:
            return last.report
        if last.error is None or child.returncode not in (0, 1):
            noise.seek(0)
            tail = noise.read()[-2000:].decode(errors="replace").strip()
            raise Transient(f"the export process died (status {child.returncode}): {tail}", reason="export")
    raise (Transient if last.again else Permanent)(last.error, reason=last.reason)


def _log_progress(text: str) -> None:
    _log.info("encoder setup", step=text)


def _announce(encoder: OpenVinoEncoder | SentenceTransformerEncoder, report: Report | None, seconds: float) -> None:
    runtime, _, precision = encoder.backend.partition("-")
    measured = report.backends.get(encoder.backend) if report else None
    cosine = measured.min_cosine if measured else 1.0 if encoder.backend == "torch-fp32" else None
    _log.info(
        "encoder open",
        model=encoder.model,
        backend=encoder.backend,
        device="cuda" if runtime == "cuda" else "cpu",
        precision=precision,
        dimension=encoder.dimension,
        min_cosine=cosine,
        chunks_per_s=measured.chunks_per_s if measured else None,
        seconds=round(seconds, 2),
    )
    if report and report.refused:
        _log.warning("model runs on torch: OpenVINO cannot take it", model=encoder.model, why=report.refused)
    if cosine is not None and cosine < MIN_COSINE:
        _log.warning("backend is less exact than `auto` allows", backend=encoder.backend, min_cosine=cosine)
