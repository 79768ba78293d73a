"""Real files out of Debian packages: fetched by apt-get, unpacked into a cache, nothing installed.

What Debian has compressed (`.gz`) is unpacked; messages of Python's own mail tests are named `.eml`; nothing else is
changed, and no file is made of another.
"""

import gzip
import hashlib
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "catdoc", "debian-handbook", "debian-reference-en", "developers-reference", "docx2txt", "gnuplot-doc",
    "golang-github-docker-docker-dev", "libpython3.11-testsuite", "maint-guide", "python-markdown-doc",
    "python3-docx", "r-cran-lmtest", "r-cran-mvtnorm", "r-cran-officer", "r-cran-readr", "r-cran-sandwich",
    "r-cran-tm", "r-cran-vroom", "r-cran-zoo", "r-doc-pdf",
)  # fmt: skip
MOST = {".pdf": 20, ".docx": 10, ".pptx": 10, ".md": 60, ".eml": 40, ".csv": 12, ".tsv": 6, ".txt": 30}  # then HTML
LARGEST = {".html": 25_000, ".txt": 40_000, ".md": 40_000, ".csv": 100_000, ".tsv": 100_000, ".pdf": 250_000}


@dataclass(frozen=True)
class File:
    """A file as a benchmark puts it into its folder."""

    name: str  # package/path
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body)

    def put(self, folder: Path) -> None:
        """Write it."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.body)


def files(cache: Path) -> list[File]:
    """All files of the packages that have a format of ours, without copies of the same content."""
    packages = cache / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(packages.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", "-q", *missing], cwd=packages, check=True, timeout=120)
    found: dict[str, File] = {}
    for name in PACKAGES:
        tree = cache / "trees" / name
        if not tree.exists():
            tree.mkdir(parents=True)
            (archive, *_) = packages.glob(f"{name}_*.deb")
            subprocess.run(["dpkg-deb", "-x", str(archive), str(tree)], check=True, timeout=120)
        for path in sorted(tree.rglob("*")):
            if path.is_file() and not path.is_symlink() and (file := _file(name, path, tree)):
                found.setdefault(hashlib.sha256(file.body).hexdigest(), file)
    return list(found.values())


def choose(found: list[File], count: int) -> list[File]:
    """``count`` of them: the rare formats first, then HTML; the same ones each time."""
    by_suffix = defaultdict(list)
    for file in found:
        suffix = Path(file.name).suffix
        if file.size <= LARGEST.get(suffix, 10**9):
            by_suffix[suffix].append(file)
    chosen: list[File] = []
    for suffix, most in MOST.items():
        chosen += sorted(by_suffix[suffix], key=_lot)[:most]
    chosen += sorted(by_suffix[".html"], key=_lot)[: count - len(chosen)]
    if len(chosen) < count:
        raise RuntimeError(f"the packages hold only {len(chosen)} files that fit")
    return chosen


def _file(package: str, path: Path, tree: Path) -> File | None:
    name = path.relative_to(tree)
    packed = name.suffix == ".gz"
    name = name.with_suffix("") if packed else name
    if "test_email" in name.parts and name.suffix == ".txt":
        name = name.with_suffix(".eml")
    if name.suffix not in MOST and name.suffix != ".html":
        return None
    body = path.read_bytes()
    return File(f"{package}/{name}", gzip.decompress(body) if packed else body)


def _lot(file: File) -> str:
    return hashlib.sha256(file.name.encode()).hexdigest()
