"""What the machine already has: each tool is used only if it runs and is new enough.

Comes in: the environment.  Goes out: the program's path, or None.  A tool that hangs or fails counts as not there
(macOS ships a `java` that only opens a dialogue).  Looks only, so repeating is harmless.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

Environment = Mapping[str, str]
JAVA_MINIMUM = (17,)  # Kafka 4's broker
GO_MINIMUM = (1, 26)  # what Weaviate 1.39.0's go.mod asks for
REDIS_MINIMUM = (6, 2)


def _printed(command: Sequence[str], environment: Environment) -> str | None:
    """What the program prints, or None when it fails."""
    try:
        done = subprocess.run(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def version_in(text: str, pattern: str) -> tuple[int, ...]:
    """The version that follows the pattern, () when there is none."""
    found = re.search(pattern + r"(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in found.group(1).split(".")) if found else ()


def _usable(
    program: str | None, arguments: Sequence[str], pattern: str, minimum: tuple[int, ...], environment: Environment
) -> str | None:
    if program is None:
        return None
    text = _printed([program, *arguments], environment)
    return program if text is not None and version_in(text, pattern) >= minimum else None


def find(name: str, environment: Environment) -> str | None:
    """The program's path on the user's PATH."""
    return shutil.which(name, path=environment.get("PATH", os.defpath))


def system_java(environment: Environment) -> str | None:
    """A Java that can run Kafka: JAVA_HOME's, else the one on the path."""
    home = environment.get("JAVA_HOME")
    for program in (find("bin/java", {"PATH": home}) if home else None, find("java", environment)):
        if found := _usable(program, ["-version"], r'version "', JAVA_MINIMUM, environment):
            return found
    return None


def system_maven(environment: Environment) -> str | None:
    """A Maven that runs."""
    return _usable(find("mvn", environment), ["-v"], r"Apache Maven ", (3, 6), environment)


def system_go(environment: Environment) -> str | None:
    """A Go that can build Weaviate as it is."""
    return _usable(find("go", environment), ["version"], r"\bgo", GO_MINIMUM, environment)


def system_redis(environment: Environment) -> str | None:
    """A Redis server that is new enough."""
    return _usable(find("redis-server", environment), ["--version"], r"v=", REDIS_MINIMUM, environment)


def system_uv(environment: Environment) -> str | None:
    """A uv that knows the options we use."""
    return _usable(find("uv", environment), ["--version"], r"uv ", (0, 5), environment)
