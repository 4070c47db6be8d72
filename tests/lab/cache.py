"""Where the lab keeps what it makes: one cache folder, keys from content, locks, and pruning."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parent.parent
RECIPE = LAB / "recipe"
KEEP = 2
"""So many unused images, and so many unused snapshots of each kind, stay in the cache."""


@dataclass(frozen=True)
class Cache:
    """The folder layout below the cache's root."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    @property
    def guests(self) -> Path:
        return self.root / "guests"


def cache_root(env: Mapping[str, str]) -> Path:
    """The cache folder: $CDMI_LAB_CACHE, else $XDG_CACHE_HOME/cdmi-attach-lab, else ~/.cache/cdmi-attach-lab."""
    if chosen := env.get("CDMI_LAB_CACHE"):
        return Path(chosen).absolute()
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "cdmi-attach-lab"


def open_cache() -> Cache:
    cache = Cache(cache_root(os.environ))
    for folder in (cache.images, cache.snapshots, cache.wheels, cache.guests):
        folder.mkdir(parents=True, exist_ok=True)
    return cache


def digest(parts: Iterable[str | bytes]) -> str:
    """A key of 16 hex digits over `parts`, each framed by its length."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:16]


def tree_parts(*tops: Path) -> Iterator[str | bytes]:
    """Name, mode bits and content of every file below `tops`, in a fixed order; byte code is left out."""
    for top in tops:
        files = sorted(p for p in top.rglob("*") if p.is_file()) if top.is_dir() else [top]
        for path in files:
            if "__pycache__" in path.parts or not path.exists():
                continue
            yield str(path.relative_to(top.parent))
            yield "x" if path.stat().st_mode & 0o100 else "-"
            yield path.read_bytes()


@contextmanager
def locked(path: Path, *, waiting_for: str) -> Iterator[None]:
    """Hold an exclusive flock on `path`; say on stderr when another lab run holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"lab: another run holds {waiting_for}, waiting", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show on stderr what begins, and what it took."""
    print(f"lab: {what} ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    print(f"lab: {what}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Fill `folder` under another name, so that it exists complete or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    remove_tree(partial)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)


def touch_used(folder: Path) -> None:
    """Remember that `folder` was used now: `prune` keeps the most recently used."""
    os.utime(folder)


def prune(folders: Iterable[Path], in_use: set[str]) -> list[Path]:
    """Remove all but the KEEP most recently used of `folders`, never those named in `in_use`; return what went."""
    newest_first = sorted(folders, key=lambda p: p.stat().st_mtime, reverse=True)
    gone = [path for path in newest_first[KEEP:] if path.name not in in_use]
    for path in gone:
        remove_tree(path)
    return gone


def remove_tree(path: Path) -> None:
    """Remove a folder of the cache; refuses when anything is mounted in it (never follow a mount with a delete)."""
    inside = f"{path.resolve()}/"
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    if mounted := sorted(point for point in mounts if point.startswith(inside)):
        raise LabError(f"{mounted[-1]} is still mounted", remedy=f"umount {' '.join(reversed(mounted))}")
    if path.exists():
        shutil.rmtree(path)
