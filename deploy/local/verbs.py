"""What each verb of the Makefile does, once what it needs is there.

The last step of a verb replaces this process, so its exit code and its closing line are the verb's own.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn, TextIO

from deploy.local import vllm
from deploy.local.cache import remove_tree
from deploy.local.environment import child_environment, is_external
from deploy.local.failures import StepFailed
from deploy.local.install import EVERYBODY, set_up
from deploy.local.programs import ROOT

_PYTHON = ROOT / ".venv" / "bin" / "python"
_FRESHET = ROOT / ".venv" / "bin" / "freshet"

Environment = Mapping[str, str]


def _say(line: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(line + "\n")
    stream.flush()


def _become(command: list[str], environment: Environment) -> NoReturn:
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(command[0], command, dict(environment))


def _all_parts(environment: Environment) -> None:
    if is_external(environment):
        set_up(environment, ("python",))
    else:
        set_up(environment)


def _setup(environment: Environment, _arguments: list[str]) -> int:
    _all_parts(environment)
    _say("Set up. Next: make demo, or make up.")
    return 0


def _parts(environment: Environment, _arguments: list[str]) -> int:
    """The servers' parts alone, for a checkout whose environment is made by hand."""
    set_up(environment, ("weaviate", "kafka", "java", "redis"))
    return 0


def _demo(environment: Environment, arguments: list[str]) -> int:
    _all_parts(environment)
    _become([str(_FRESHET), "demo", *arguments], environment)


def _test(environment: Environment, arguments: list[str]) -> int:
    strict = environment.get("STRICT", "") not in {"", "0"}  # then nothing may be skipped for want of a part
    parts = (*EVERYBODY, "toxiproxy", *(("connect",) if strict else ()))  # local servers, whatever STACK says
    set_up(environment, parts)
    extra = shlex.split(environment.get("ARGS", ""))
    _become([str(_PYTHON), "-m", "pytest", *extra, *arguments], environment)


def _test_vllm(environment: Environment, arguments: list[str]) -> int:
    vllm.require_platform()
    set_up(environment, ("weaviate", "python", "kafka", "java", "redis", "vllm"))
    extra = shlex.split(environment.get("ARGS", ""))
    _become([str(_PYTHON), "-m", "pytest", "-m", "vllm", "tests/vllm", *extra, *arguments], environment)


def _up(environment: Environment, arguments: list[str]) -> int:
    _all_parts(environment)
    _become([str(_FRESHET), "stack", "up", *arguments], environment)


def _stack(verb: str) -> Callable[[Environment, list[str]], int]:
    """A verb that needs no parts: with nothing set up, nothing can be running."""

    def do(environment: Environment, arguments: list[str]) -> int:
        if not _FRESHET.exists():
            _say("Nothing is set up here, so nothing is running.")
            return 0
        _become([str(_FRESHET), "stack", verb, *arguments], environment)

    return do


def _check(environment: Environment, _arguments: list[str]) -> int:
    set_up(environment, ("python",))
    worst = 0
    for command in (["ruff", "check", "."], ["mypy"]):  # both are configured in pyproject.toml
        _say(f"$ {' '.join(command)}")
        worst = max(worst, subprocess.call([str(_PYTHON), "-m", *command], cwd=ROOT, env=dict(environment)))
    return worst


def _bench(environment: Environment, arguments: list[str]) -> int:
    _all_parts(environment)
    names = shlex.split(environment.get("BENCH", ""))
    _become([str(_PYTHON), "-m", "bench", *names, *arguments], environment)


def _chaos(*how: str) -> Callable[[Environment, list[str]], int]:
    """A campaign on a stack of its own: local servers, whatever STACK says."""

    def do(environment: Environment, arguments: list[str]) -> int:
        set_up(environment, (*EVERYBODY, "toxiproxy"))
        seed = ["--seed", environment["SEED"]] if environment.get("SEED") else []
        extra = shlex.split(environment.get("ARGS", ""))
        _become([str(_PYTHON), "-m", "chaos", "campaign", *how, *seed, *extra, *arguments], environment)

    return do


def _clean(environment: Environment, _arguments: list[str]) -> int:
    """Stop the stack and remove its data and logs; packages and parts stay."""
    if _FRESHET.exists():
        code = subprocess.call([str(_FRESHET), "stack", "down"], cwd=ROOT, env=dict(environment))
        if code != 0:
            return code
    remove_tree(ROOT / ".freshet")
    _say(f"Removed the stack's data and logs. Kept: {ROOT / '.venv'} and the parts in the cache folder.")
    return 0


VERBS: dict[str, Callable[[Environment, list[str]], int]] = {
    "setup": _setup,
    "parts": _parts,
    "demo": _demo,
    "test": _test,
    "test-vllm": _test_vllm,
    "up": _up,
    "down": _stack("down"),
    "status": _stack("status"),
    "logs": _stack("logs"),
    "check": _check,
    "bench": _bench,
    "chaos": _chaos("--minutes", "30"),
    "chaos-short": _chaos("--seeds", "1", "--seconds", "20"),
    "clean": _clean,
}


def main(arguments: list[str]) -> int:
    """Do one verb; a failure is a sentence on standard error and exit code 1."""
    if not arguments or arguments[0] not in VERBS:
        _say(f"usage: bootstrap.py {{{','.join(VERBS)}}} [ARGUMENT ...]", sys.stderr)
        return 2
    environment = child_environment(os.environ)
    for name in ("VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT"):
        environment.pop(name, None)  # those of the shell we were called from; ours is .venv
    try:
        return VERBS[arguments[0]](environment, arguments[1:])
    except StepFailed as failure:
        _say(f"\n{failure}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("\nStopped. What is fetched already is kept; run the same command to go on.", sys.stderr)
        return 130
