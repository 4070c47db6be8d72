"""os-brick's current release, for the guest's Python; fetched on the host, by the pip that is configured there."""

import subprocess
import sys
from pathlib import Path

from tests.lab.errors import LabError

FOLDER = Path("build/bench/os-brick")
LAYOUT = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none")
PLATFORM = ("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64", "--platform", "any")


def os_brick() -> Path:
    """The folder with os-brick and all it needs, fetched unless it is there. Raises `LabError`."""
    if not any(FOLDER.glob("os_brick-*.dist-info")):
        FOLDER.mkdir(parents=True, exist_ok=True)
        layout = () if sys.version_info[:2] == (3, 11) else (*LAYOUT, *PLATFORM, "--only-binary", ":all:")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--target", str(FOLDER), *layout, "os-brick"], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"os-brick cannot be installed:\n{done.stderr}", remedy="see pip's configuration")
    return FOLDER


def version() -> str:
    """The release that was fetched."""
    return next(FOLDER.glob("os_brick-*.dist-info")).name.removeprefix("os_brick-").removesuffix(".dist-info")
