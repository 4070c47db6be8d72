"""A LUN as the contenders get it, and the proof that what they hand out leads to it."""

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Lun:
    """One object: where its LUN is, and the stamp that its first bytes are."""

    name: str
    source: str
    target: str
    portals: tuple[str, ...]
    number: int
    wwid: str
    stamp: str
    export: str = "Network/iSCSI"


def lun_of(values: Mapping[str, Any]) -> Lun:
    """The LUN from its JSON values."""
    return Lun(**{**values, "portals": tuple(values["portals"])})


class WrongStamp(Exception):
    """The path that was handed out leads to other bytes."""


def check_stamp(path: str, lun: Lun) -> None:
    """Read the first block past every cache (O_DIRECT). Raises `WrongStamp`, `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, BLOCK) as page:
            os.preadv(fd, [page], 0)
            found = page[: len(lun.stamp)]
    finally:
        os.close(fd)
    if found != lun.stamp.encode():
        raise WrongStamp(f"{path} begins with {found!r}, not with {lun.stamp!r}")
