"""Make an OpenVINO export, measure every backend beside torch fp32, and write the report.

Runs as a process of its own (`python -m connectors.encoders.export`), so that torch never enters the one that asked
and an export that dies takes nobody along.  In: one JSON line (:class:`Order`) on standard input.  Out: JSON lines
(:class:`Line`) on standard output, the report last.  Safe to repeat and to run twice at once: a lock lets one work,
the other finds it done; what a killed one left is swept.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.encoders import report as reports
from connectors.encoders.report import GRAPH, GRAPH_WEIGHTS, TOKENIZER, Measured, Report
from connectors.encoders.sentence_transformer import load_network
from connectors.encoders.verify import measure
from connectors.encoders.weights import Weights, resolve
from connectors.errors import ConnectorError, Permanent, Transient

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOCK_TIMEOUT = 900.0  # seconds: a large model's export on a slow machine
_LIGHT_MODULES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_LIGHT_POOLING = ("mean", "cls")
_FILES = (GRAPH, GRAPH_WEIGHTS, TOKENIZER)

Progress = Callable[[str], None]


class Order(msgspec.Struct, frozen=True):
    """What to export, and where to."""

    model: str
    folder: str
    threads: int = 0


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message to the process that asked."""

    progress: str | None = None
    report: Report | None = None
    error: str | None = None
    reason: str = "export"
    again: bool = False  # the error may pass


def make(order: Order, progress: Progress) -> Report:
    """Export where no whole one is kept, verify where this machine has not been measured.

    Raises :class:`Permanent` for a model that cannot be loaded and a folder that cannot be written.
    """
    from filelock import FileLock, Timeout

    folder = Path(order.folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_LOCK_TIMEOUT):
            return _make(folder, resolve(order.model), order.threads, progress)
    except Timeout:
        raise Transient("another process has been exporting this model for 15 minutes", reason="export") from None
    except OSError as error:
        raise Permanent(
            f"the export of {order.model} cannot be kept ({error.strerror or error}): free some space, or set "
            "FRESHET_ENCODER_EXPORT_DIR to a folder that can be written",
            reason="export",
        ) from error


def _make(folder: Path, weights: Weights, threads: int, progress: Progress) -> Report:
    kept = reports.read(folder)
    if kept is not None and kept.machine == reports.machine():
        return kept  # made while we waited for the lock
    if kept is not None:
        progress("measuring the kept export on this machine")
        fresh = _verified(folder, kept, weights, threads, progress)
        reports.write(folder, fresh)
        return fresh
    for rest in folder.parent.glob(f"{folder.name}.*.part"):
        shutil.rmtree(rest, ignore_errors=True)  # of an export that was killed: we hold the lock
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        progress(f"exporting {weights.name} to OpenVINO")
        made = _verified(part, _export(part, weights), weights, threads, progress)
        reports.write(part, made)
        shutil.rmtree(folder, ignore_errors=True)  # half of one, or reports.read would have found it
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _export(part: Path, weights: Weights) -> Report:
    """Write graph and tokenizer; a model that the light adapter cannot run yields a report that says why."""
    network = load_network(weights, "cpu")
    refused = _refusal(network)
    if refused is None:
        try:
            options = {"export": True, "compile": False}
            exported: Any = load_network(weights, "cpu", backend="openvino", model_kwargs=options)[0]
            exported.auto_model.save_pretrained(part)
            network.tokenizer.save_pretrained(part)
        except Exception as error:  # an architecture that the exporter does not know fails in its own ways
            refused = f"it cannot be exported: {type(error).__name__}: {error}"
        else:
            missing = [name for name in _FILES if not (part / name).is_file()]
            refused = f"the export lacks {', '.join(missing)}" if missing else None
    return Report(
        model=weights.model_id,
        dimension=len(network.encode("dimension", show_progress_bar=False)),
        window=int(network.max_seq_length or 512),
        pooling=_pooling(network) or "",
        pad_id=int(getattr(network.tokenizer, "pad_token_id", 0) or 0),
        files={} if refused else {name: (part / name).stat().st_size for name in _FILES},
        refused=refused,
        backends={},
        machine=[],
        versions=reports.versions(),
        chosen="torch-fp32",
    )


def _refusal(network: "SentenceTransformer") -> str | None:
    modules = [type(module).__name__ for module in network]
    if modules not in _LIGHT_MODULES:
        return f"its modules are {', '.join(modules)}"
    if _pooling(network) not in _LIGHT_POOLING:
        return f"its pooling is {_pooling(network)}"
    if network.default_prompt_name:
        return f"it puts the prompt {network.default_prompt_name!r} in front of every text"
    return None


def _pooling(network: "SentenceTransformer") -> str | None:
    for module in network:
        if type(module).__name__ == "Pooling":
            mode: Any = module.pooling_mode
            return mode if isinstance(mode, str) else "+".join(mode)
    return None


def _verified(folder: Path, made: Report, weights: Weights, threads: int, progress: Progress) -> Report:
    machine = reports.machine()
    measured: dict[str, Measured] = measure(folder, made, weights, machine, threads, progress)
    return msgspec.structs.replace(made, backends=measured, machine=machine, chosen=reports.choose(measured))


def _main() -> int:
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries print: their words must not mix with ours

    def say(line: Line) -> None:
        lines.write(msgspec.json.encode(line) + b"\n")

    try:
        order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
        say(Line(report=make(order, lambda text: say(Line(progress=text)))))
    except ConnectorError as error:
        say(Line(error=str(error), reason=error.reason, again=isinstance(error, Transient)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
