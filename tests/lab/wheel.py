"""The project's wheel, built from a copy of the checkout and kept by the content of that copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import CHECKOUT, Cache, appearing, digest, prune, stage, touch_used, tree_parts
from tests.lab.errors import LabError

SOURCES = ("agent", "attachers", "systemd", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Project:
    """What is installed into a guest: a folder with the one wheel and systemd/, named after its content's key."""

    key: str
    folder: Path

    @property
    def wheel(self) -> Path:
        return next(self.folder.glob("*.whl"))


def ensure_wheel(cache: Cache) -> Project:
    """Copy what the wheel and the units are made of, hash the copy, and build it unless that was done before."""
    with tempfile.TemporaryDirectory(dir=cache.wheels, prefix="source.") as top:
        copy = Path(top)
        for name in SOURCES:
            copy_source(CHECKOUT / name, copy / name)
        (copy / "README.md").touch()
        key = digest(tree_parts(*(copy / name for name in SOURCES)))
        folder = cache.wheels / key
        if not folder.exists():
            with stage("wheel"), appearing(folder) as partial:
                build(copy, partial)
                shutil.copytree(copy / "systemd", partial / "systemd")
    touch_used(folder)
    prune((path for path in cache.wheels.iterdir() if "." not in path.name), set())
    return Project(key, folder)


def copy_source(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy2(source, target)


def build(source: Path, target: Path) -> None:
    """Run the first interpreter that has hatchling; it need not be the one that runs the lab."""
    candidates = [os.environ.get("PYTHON", ""), str(CHECKOUT / ".venv/bin/python"), sys.executable, "python3"]
    for python in filter(shutil.which, filter(None, candidates)):
        if subprocess.run([python, "-c", "import hatchling"], capture_output=True).returncode == 0:
            command = [python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
            done = subprocess.run(command, cwd=source, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise LabError(f"the wheel cannot be built:\n{done.stdout}")
            return
    raise LabError(
        "no Python with hatchling to build the wheel",
        remedy="pip install hatchling into .venv, or name another interpreter in PYTHON",
    )
