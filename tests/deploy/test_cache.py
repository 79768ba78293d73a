"""Parts in the cache: there complete, or not there."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.local.cache import cache_folder, ensure, is_complete, locked, remove_tree
from deploy.local.failures import StepFailed
from deploy.local.parts import check_jars


def recipe(_work: Path, out: Path, _lock: int) -> None:
    """A tiny part of two files."""
    (out / "bin").mkdir()
    (out / "bin" / "server").write_text("complete")
    (out / "notes").write_text("")


def never(_work: Path, _out: Path, _lock: int) -> None:
    """A recipe that must not run."""
    pytest.fail("built again")


def test_a_part_is_built_once(tmp_path: Path) -> None:
    """What is complete is not built again, and no scratch space stays behind."""
    folder = ensure(tmp_path, "part-1", recipe)
    assert (folder / "bin" / "server").read_text() == "complete"
    assert ensure(tmp_path, "part-1", never) == folder
    assert not list((tmp_path / "building").iterdir())


def test_a_recipe_that_fails_leaves_no_part(tmp_path: Path) -> None:
    """A half-fetched part never appears under its final name, and the next run makes it whole."""

    def half(_work: Path, out: Path, _lock: int) -> None:
        (out / "half").write_text("x")
        raise StepFailed("network")

    with pytest.raises(StepFailed):
        ensure(tmp_path, "part-1", half)
    assert not (tmp_path / "parts" / "part-1").exists()
    folder = ensure(tmp_path, "part-1", recipe)
    assert not (folder / "half").exists()


def test_a_part_appears_in_one_step(tmp_path: Path) -> None:
    """The folder that was filled is the one that appears: renamed, not copied file by file."""
    filled: list[int] = []

    def build(work: Path, out: Path, lock: int) -> None:
        filled.append(out.stat().st_ino)
        recipe(work, out, lock)

    assert ensure(tmp_path, "part-1", build).stat().st_ino == filled[0]


def test_a_damaged_part_is_built_again(tmp_path: Path) -> None:
    """A file that was cut short, or is gone, makes the part count as missing."""
    folder = ensure(tmp_path, "part-1", recipe)
    (folder / "bin" / "server").write_text("comp")
    assert not is_complete(folder)
    assert (ensure(tmp_path, "part-1", recipe) / "bin" / "server").read_text() == "complete"


def test_a_resumable_part_keeps_its_work(tmp_path: Path) -> None:
    """A long build goes on where a failed or killed one stopped; its output starts empty all the same."""

    def first(work: Path, out: Path, _lock: int) -> None:
        (work / "compiled").write_text("half of it")
        (out / "half").write_text("x")
        raise StepFailed("killed")

    def second(work: Path, out: Path, lock: int) -> None:
        assert (work / "compiled").read_text() == "half of it"
        assert not list(out.iterdir())
        recipe(work, out, lock)

    with pytest.raises(StepFailed):
        ensure(tmp_path, "part-1", first, resumable=True)
    ensure(tmp_path, "part-1", second, resumable=True)


def test_two_set_ups_build_a_part_once(tmp_path: Path) -> None:
    """The second waits for the first and takes what it made."""
    built: list[int] = []
    waited: list[bool] = []

    def slow(work: Path, out: Path, lock: int) -> None:
        built.append(lock)
        time.sleep(0.3)
        recipe(work, out, lock)

    def run() -> None:
        ensure(tmp_path, "part-1", slow, on_wait=lambda: waited.append(True))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert waited == [True]


def test_a_compiler_that_outlives_its_set_up_keeps_the_lock(tmp_path: Path) -> None:
    """After a kill -9 of the set-up alone, its last child still keeps others out, until it ends."""
    lock = tmp_path / "lock"
    with locked(lock, lambda: None) as handle:
        sleep = [sys.executable, "-c", "import time; time.sleep(30)"]
        child = subprocess.Popen(sleep, pass_fds=(handle,))
    probe = os.open(lock, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.kill()
    child.wait()
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(probe)


def test_read_only_folders_are_removed(tmp_path: Path) -> None:
    """Go's module cache is read-only, and is removed all the same."""
    inner = tmp_path / "modules" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    inner.chmod(0o500)
    remove_tree(tmp_path / "modules")
    assert not (tmp_path / "modules").exists()


def test_the_cache_follows_the_custom_of_the_system(tmp_path: Path) -> None:
    """XDG_CACHE_HOME is obeyed; without it the home folder is used."""
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "freshet"
    assert tmp_path in cache_folder({"HOME": str(tmp_path)}).parents


def test_a_changed_jar_is_refused(tmp_path: Path) -> None:
    """A jar that is missing, strange or not what was recorded fails the step by name."""
    sums = tmp_path / "sums"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    sums.write_text(f"{empty}  a.jar\n")
    (tmp_path / "a.jar").write_bytes(b"")
    check_jars(tmp_path, sums)
    (tmp_path / "a.jar").write_bytes(b"changed")
    with pytest.raises(StepFailed, match=r"a\.jar"):
        check_jars(tmp_path, sums)
    (tmp_path / "a.jar").write_bytes(b"")
    (tmp_path / "strange.jar").write_bytes(b"")
    with pytest.raises(StepFailed, match=r"strange\.jar"):
        check_jars(tmp_path, sums)
