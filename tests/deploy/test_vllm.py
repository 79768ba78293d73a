"""The vLLM part: where it can be had, and what is said when its server does not start."""

import os
import socket
import sys
from pathlib import Path

import pytest

from deploy.local.failures import StepFailed
from deploy.local.vllm import key, require_platform, serving


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_other_machines_are_told(system: str, machine: str) -> None:
    """Where there is no ready build, set-up says so and what else there is, before it fetches anything."""
    with pytest.raises(StepFailed, match=r"Linux on x86-64 only.*make test.*docs/llm\.md"):
        require_platform(system, machine)
    require_platform("Linux", "x86_64")


def test_the_part_follows_lock_and_python() -> None:
    """Another Python, which cannot run these packages, has a part of its own."""
    assert key().startswith("vllm-0.") and f"-py{sys.version_info[0]}{sys.version_info[1]}-" in key()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    """A start that fails is noticed at once, and the message holds the end of the log and where it is."""
    log, said = tmp_path / "vllm.log", list[str]()
    with (
        pytest.raises(StepFailed, match="ended with code 1") as failure,
        serving(Path(sys.executable), tmp_path, _free_port(), log, os.environ, said.append),  # has no vLLM
    ):
        pytest.fail("it cannot be ready")
    assert str(log) in str(failure.value) and "No module named" in str(failure.value) and str(log) in said[0]


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """A server of somebody else on the port is never taken for ours."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        with (
            pytest.raises(StepFailed, match=f"port {port} is taken"),
            serving(Path(sys.executable), tmp_path, port, tmp_path / "log", os.environ, print),
        ):
            pytest.fail("it cannot be ready")
