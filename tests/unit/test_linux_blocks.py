"""What is done to a disk before it is deleted, and in which order."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from agent.host import blocks
from tests.unit.linux_tree import WWID, add_disk, add_session, roots_in

HCTL = "6:0:0:1"


def test_what_a_passer_by_wrote_during_the_search_is_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own descriptor keeps the kernel from writing out when the last of the others closes (bdev_release)."""
    roots = roots_in(tmp_path)
    place = add_session(roots)
    add_disk(roots, place, 1)
    told: list[str] = []

    def search(*_: Any, **__: Any) -> list[list[str]]:
        told.append("search")
        return [[]]

    monkeypatch.setattr(blocks, "_is_device", lambda *_: True)
    monkeypatch.setattr("agent.host.scsi_generic.identify", lambda _: {WWID})
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: 0)
    monkeypatch.setattr(blocks, "holders", search)
    monkeypatch.setattr(os, "fsync", lambda _: told.append("flush"))
    monkeypatch.setattr(blocks, "write", lambda *_, **__: told.append("delete"))
    where: dict[str, Any] = {"nodes": str(roots.dev), "devices": str(roots.devices), "lost": [], "holders": {}}
    blocks.remove(str(roots.sys / f"class/scsi_device/{HCTL}/device"), HCTL, WWID, where)
    assert told == ["flush", "search", "flush", "delete"]
