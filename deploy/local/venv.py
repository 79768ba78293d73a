"""The Python environment in the checkout, `.venv`.

Comes in: the lock file.  Goes out: exactly its packages, bytecode included, and the checkout as an editable package.
A `.venv` that was there is kept with its Python, and only brought in line; it is made anew only when its Python does
not run or suit, or when an earlier run of ours was killed half-way and uv cannot mend what that left.
"""

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.local.cache import locked, remove_tree
from deploy.local.failures import StepFailed
from deploy.local.parts import Workshop
from deploy.local.progress import Progress

_STAMP = ".freshet-stamp"
_UNFINISHED = ".freshet-unfinished"
_SUITS = "import sys; print(sys.version_info[:3]); sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))"


def python_of(venv: Path) -> str | None:
    """The version of the environment's Python, None when it does not run or does not suit us."""
    try:
        command = [str(venv / "bin" / "python"), "-I", "-c", _SUITS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment_stamp(root: Path, python: str) -> str:
    """What the environment depends on; the linters' settings in pyproject.toml are not part of it."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    relevant = (
        project.get("project", {}).get("scripts"),
        project.get("build-system"),
        project.get("tool", {}).get("hatch"),
    )
    digest = hashlib.sha256(repr((python, relevant, str(root))).encode())
    digest.update((root / "requirements.lock").read_bytes())
    return digest.hexdigest()


def environment_is_there(root: Path) -> bool:
    """Whether `.venv` was finished from this lock file, and its Python still runs."""
    try:
        stamp = (root / ".venv" / _STAMP).read_text()
    except OSError:
        return False
    python = python_of(root / ".venv")
    return python is not None and stamp == environment_stamp(root, python)


def install_environment(workshop: Workshop, root: Path) -> None:
    """Make `.venv` what the lock file says."""
    venv, progress = root / ".venv", workshop.progress
    lock_file = workshop.cache / "locks" / f"venv-{hashlib.sha256(bytes(root)).hexdigest()[:16]}"
    with locked(lock_file, lambda: workshop.waiting("python")) as lock:
        if environment_is_there(root):
            return
        uv = workshop.ensure_uv()

        def run(*arguments: str) -> None:
            progress.run(
                "python", [uv, *arguments], environment=workshop.environment, folder=root, lock=lock,
                on_line=lambda line: _follow_uv(progress, line),
            )  # fmt: skip

        def make() -> None:
            remove_tree(venv)
            run("venv", "--quiet", "--python", sys.executable, str(venv))
            (venv / _UNFINISHED).touch()

        def sync() -> None:
            target = ["--python", str(venv / "bin" / "python")]
            run("pip", "sync", *target, "--require-hashes", "--compile-bytecode", "requirements.lock")

        killed_before = (venv / _UNFINISHED).exists()
        if python_of(venv) is None:
            make()
            killed_before = False
        (venv / _STAMP).unlink(missing_ok=True)
        try:
            sync()
        except StepFailed:
            if not killed_before or progress.stopped:
                raise
            progress.say("python", "what a killed set-up left cannot be mended; making the environment anew")
            make()
            sync()
        run("pip", "install", "--python", str(venv / "bin" / "python"), "--no-deps", "-e", ".")
        (venv / _STAMP).write_text(environment_stamp(root, python_of(venv) or ""))
        (venv / _UNFINISHED).unlink(missing_ok=True)


def _follow_uv(progress: Progress, line: str) -> None:
    text = line.strip()
    if text.startswith(("Downloading ", "Downloaded ", "Prepared ", "Installed ", "Bytecode ", "Building ")):
        progress.note("python", text)
        if text.startswith(("Prepared ", "Installed ", "Bytecode ")):
            progress.say("python", text)
        if text.startswith("Installed "):
            progress.note("python", "compiling bytecode")
