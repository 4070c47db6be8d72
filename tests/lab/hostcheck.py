"""Does this machine have what the lab needs? If not, say which package or how much space is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.cache import LAB
from tests.lab.errors import LabError

TOOLS = {
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Command -> the Debian package that has it (see host-packages.txt)."""
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
BUILD_SPACE = 8 << 30
"""Bytes that a build may need at once: image, its tar, two snapshots' memory."""
UP_SPACE = 1 << 30


def tool(name: str) -> str:
    """The path of a command, sbin included even where the caller's PATH lacks it."""
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        raise LabError(f"the command {name} is missing", remedy=f"apt-get install {TOOLS.get(name, name)}")
    return found


def check_tools() -> None:
    """Raise LabError naming every missing package at once."""
    missing = sorted({package for name, package in TOOLS.items() if not present(name)})
    if missing:
        listed = LAB / "host-packages.txt"
        raise LabError(
            f"this machine lacks what the lab needs: {' '.join(missing)}",
            remedy=f"apt-get install --no-install-recommends {' '.join(missing)}   (all of them: {listed})",
        )


def present(name: str) -> bool:
    return bool(shutil.which(name) or shutil.which(name, path=SBIN))


def check_space(folder: Path, needed: int) -> None:
    """Raise LabError if the file system of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LabError(
            f"{folder} has {free >> 20} MiB free, the lab needs {needed >> 20} MiB",
            remedy="free some space, or set CDMI_LAB_CACHE to a folder on a larger disk",
        )
