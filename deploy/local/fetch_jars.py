"""Fetch the jars that kafka-pom.xml names, with all they need, by jgo: for machines without Maven.

Run as a script, with jgo on the path: `fetch_jars.py POM FOLDER`.  Files arrive under a temporary name and are renamed.
"""

import shutil
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_MAVEN = "{http://maven.apache.org/POM/4.0.0}"


def coordinates(pom: Path) -> list[str]:
    """The pom's direct dependencies as group:artifact:version."""
    fields = [_MAVEN + field for field in ("groupId", "artifactId", "version")]
    found = ElementTree.parse(pom).iter(f"{_MAVEN}dependency")
    return [":".join(node.findtext(field, "") for field in fields) for node in found]


def main(pom: Path, folder: Path) -> None:
    """Resolve, then download eight at a time."""
    import jgo  # type: ignore[import-not-found, unused-ignore]  # only there in the set-up's own environment

    artifacts: list[Any] = jgo.resolve("+".join(coordinates(pom)))
    sys.stdout.write(f"{len(artifacts)} jars to fetch\n")

    def fetch(artifact: Any) -> None:
        jar = Path(artifact.resolve())
        part = folder / f"{jar.name}.part"
        shutil.copyfile(jar, part)
        part.rename(folder / jar.name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, artifacts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
