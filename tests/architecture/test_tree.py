"""The shape of the tree: who may import whom, how long files are, how they are named."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("topics", "runtime", "connectors", "streams", "gateway", "cli", "deploy", "chaos", "bench", "tests")
MAY_IMPORT = {
    "topics": set(),
    "runtime": set(),
    "connectors": {"topics", "runtime"},
    "streams": {"topics", "runtime", "connectors"},
    "gateway": {"topics", "runtime", "connectors"},
    "deploy": set(),
    "cli": set(ROOMS) - {"tests"},
    "bench": set(ROOMS) - {"tests", "chaos"},
    "chaos": {"topics", "runtime", "deploy", "bench"},
    "tests": set(ROOMS),
}
# A worker with a fault built in is a worker.
FAULTY_WORKERS = {"chaos/slow_encoder.py": {"streams", "connectors"}}
# The gateway talks to ports; one file builds them.
GATEWAY_BUILDER = "gateway/serve.py"
FAUST = {"streams/app.py"}
FAUST_PINNED = "tests/upstream/"  # tests of Faust itself: what our code lives with, row by row
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


def sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # Examples in docs/ are the reader's code: they import nothing of ours, and live by no rule of ours.
    return [Path(line) for line in listed.splitlines() if (ROOT / line).exists() and not line.startswith("docs/")]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports(path: Path) -> None:
    """Every file imports only rooms that its own room may know."""
    room = path.parts[0]
    known = {name.split(".")[0] for name in imports(path)} & set(ROOMS)
    assert known <= MAY_IMPORT[room] | {room} | FAULTY_WORKERS.get(str(path), set())


def test_gateway_knows_ports_only() -> None:
    """The gateway imports no adapter: ports, errors and in-memory fakes apart, one file builds what it needs."""
    allowed = tuple(f"connectors.{name}" for name in ("ports", "job_ports", "search_ports", "webhook_ports", "errors"))
    for path in sources():
        if path.parts[0] == "gateway" and str(path) != GATEWAY_BUILDER:
            adapters = {n for n in imports(path) if n.startswith("connectors.") and not n.startswith(allowed)}
            assert not adapters, f"{path}: {adapters}"


def test_faust_is_in_its_place() -> None:
    """Faust is imported where the application is made, where its behaviour is pinned, and nowhere else."""
    users = {str(p) for p in sources() if {n.split(".")[0] for n in imports(p)} & {"faust", "mode"}}
    assert {user for user in users if not user.startswith(FAUST_PINNED)} == FAUST


def test_stages_do_not_know_each_other() -> None:
    """A stage is wired by the composition root alone; stages meet in a topic."""
    stages = {"streams.documents.chunk", "streams.documents.embed", "streams.documents.index",
              "streams.queries.retrieve", "streams.queries.generate", "streams.queries.deliver"}  # fmt: skip
    for path in sources():
        if path.parts[0] == "streams" and path.name != "bootstrap.py":
            own = str(path.with_suffix("")).replace("/", ".")
            assert not (imports(path) & stages) - {own}, path


def test_kafka_clients_take_their_options_from_one_place() -> None:
    """No client of ours names brokers by itself, or it would know nothing of logins and certificates."""
    own = {"runtime/brokers.py", "deploy/local/health.py"}  # the latter asks the local stack's own broker
    for path in sources():
        text = (ROOT / path).read_text()
        if path.parts[0] != "tests" and str(path) not in own:
            assert not re.search(r"""["']bootstrap\.servers["']|bootstrap_servers=""", text), path


def test_sizes_and_names() -> None:
    """No file is over 400 lines, and none is named after nothing."""
    for path in sources():
        lines = len((ROOT / path).read_text().splitlines())
        assert lines <= 400, f"{path} has {lines} lines"
        assert not FORBIDDEN_NAMES & {part.removesuffix(".py") for part in path.parts}, path


def test_the_environment_is_read_in_one_place() -> None:
    """Settings are read once; apart from them only model loading looks, for the environment of its own children."""
    readers = {
        str(p)
        for p in sources()
        if p.parts[0] not in {"tests", "deploy", "cli", "bench", "chaos"} and "os.environ" in (ROOT / p).read_text()
    }
    assert readers <= {
        "runtime/settings/tree.py",
        *(f"connectors/encoders/{n}.py" for n in ("weights", "export", "select")),
    }
