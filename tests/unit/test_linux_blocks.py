"""What is done to a disk before it is deleted, and in which order."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from agent.host import blocks
from agent.host.roots import Roots
from attachers.problems import Code, Problem
from tests.unit.linux_tree import WWID, add_disk, add_session, roots_in

HCTL = "6:0:0:1"


def where_in(roots: Roots) -> dict[str, Any]:
    places = {"nodes": str(roots.dev), "devices": str(roots.devices), "unwritten": str(roots.unwritten)}
    return places | {"lost": [], "holders": {}}


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
    monkeypatch.setattr(blocks, "write", lambda name, *_, **__: told.append(name))
    blocks.remove(str(roots.sys / f"class/scsi_device/{HCTL}/device"), HCTL, WWID, False, where_in(roots))
    assert told == ["flush", "search", "flush", "delete"]


class Disk:
    """A disk in sysfs whose write-outs fail as often as is said, and what was done to it."""

    sets = True

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, fails: int, names: set[str]) -> None:
        self.roots = roots_in(folder)
        add_disk(self.roots, add_session(self.roots), 1)
        self.done: list[str] = []
        self._fails = fails
        monkeypatch.setattr(blocks, "_is_device", lambda *_: True)
        monkeypatch.setattr("agent.host.scsi_generic.identify", lambda _: names)
        monkeypatch.setattr(fcntl, "ioctl", lambda *_: 0)
        monkeypatch.setattr(blocks, "holders", lambda *_, **__: [[]])
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(blocks, "write", self._write)
        self.state = self.roots.sys / f"class/scsi_device/{HCTL}/device/state"

    def _write(self, path: str, text: str, *, directory: int) -> None:
        """As the kernel: only a disk that runs can be set offline, and a word has to end with the line."""
        assert Path(f"/proc/self/fd/{directory}").resolve() == self.state.parent.resolve()
        self.done.append(path if text == "1" else text.strip())
        if path == "state" and self.sets:
            assert self.state.read_text().strip() == "running" and text == "offline\n"
            self.state.write_text(text)

    def _fsync(self, _: int) -> None:
        self.done.append("flush")
        self._fails -= 1
        if self._fails >= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def remove(self, *, lost: bool = False, wwid: str | None = WWID) -> None:
        device = str(self.roots.sys / f"class/scsi_device/{HCTL}/device")
        blocks.remove(device, HCTL, wwid, lost, where_in(self.roots))

    def refused(self) -> Problem:
        with pytest.raises(Problem) as caught:
            self.remove()
        return caught.value


def test_a_write_out_that_failed_once_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 97: the kernel tells an error once, and the pages are clean then: the second fsync would succeed."""
    disk = Disk(tmp_path, monkeypatch, fails=1, names={WWID})
    first, second = disk.refused(), disk.refused()
    assert (first.code, second.code) == (Code.DIRTY, Code.DIRTY) and "earlier" in second.detail
    assert disk.done == ["flush"]
    disk.remove(lost=True)
    assert disk.done[-1] == "delete"


def test_what_can_be_written_out_is_though_a_loss_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch, fails=0, names={WWID})
    disk.remove(lost=True)
    assert disk.done == ["flush", "flush", "delete"]


def test_nothing_is_written_to_another_disk_though_a_loss_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor by the kernel itself: what is cached would go to whatever answers when the disk goes."""
    disk = Disk(tmp_path, monkeypatch, fails=0, names={"naa.5000000000000099"})
    disk.remove(lost=True)
    assert disk.done == ["offline", "delete"]


@pytest.mark.parametrize("state", ["running", "blocked", "transport-offline", "offline"])
def test_a_disk_that_nobody_proved_is_offline_before_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """But for those that take no command anyway: of a blocked one the queue would never run again."""
    disk = Disk(tmp_path, monkeypatch, fails=0, names={WWID})
    disk.state.write_text(f"{state}\n")
    disk.remove(wwid=None)
    assert disk.done == (["offline", "delete"] if state == "running" else ["delete"])


def test_a_disk_that_stays_running_is_not_deleted_unproved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch, fails=0, names={WWID})
    disk.sets = False
    with pytest.raises(Problem) as caught:
        disk.remove(wwid=None)
    assert caught.value.code is Code.UNAVAILABLE and "delete" not in disk.done


def test_force_writes_out_what_was_written_since_the_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path came back, and the user went on: only what the earlier write-out lost is lost."""
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: done.append("forget"))
    fate = tmp_path / "fate"
    fate.touch()
    with pytest.raises(Problem) as caught:
        blocks.write_out(7, "/dev/sdx", fate)
    assert (caught.value.code, done) == (Code.DIRTY, [])
    blocks.write_out(7, "/dev/sdx", fate, lost=True)
    assert done == ["fsync", "forget"] and fate.exists()


def test_a_write_out_that_succeeds_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch, fails=0, names={WWID})
    disk.remove()
    assert not list(disk.roots.unwritten.iterdir())
