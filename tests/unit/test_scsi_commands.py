"""Commands to a device through SG_IO: what is repeated, and what a failed one comes to."""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host import blocks, scsi_generic
from agent.host.scsi_generic import UNIT_ATTENTION
from attachers.problems import Code, Problem
from tests.unit.linux_tree import WWID
from tests.unit.test_linux_designators import naa, page

NOT_READY = 2
MIB = 1 << 20


class Device:
    """A device behind an ioctl: it answers each command with a sense key, for as long as there are some, or data."""

    def __init__(self, *keys: int, data: bytes) -> None:
        self.keys = list(keys)
        self.data = data
        self.asked = 0

    def ioctl(self, fd: int, request: int, header: "scsi_generic._SgIoV3") -> int:
        self.asked += 1
        if self.keys:
            header.status = scsi_generic.CHECK_CONDITION
            ctypes.memmove(header.sbp, bytes([0x70, 0, self.keys.pop(0)]) + bytes(15), 18)
            header.sb_len_wr = 18
        elif header.dxferp:
            ctypes.memmove(header.dxferp, self.data, len(self.data))
            header.resid = header.dxfer_len - len(self.data)
        return 0


@pytest.fixture
def fd() -> Iterator[int]:
    read, write = os.pipe()
    os.close(write)
    yield read
    os.close(read)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_unit_attention_is_no_answer(monkeypatch: pytest.MonkeyPatch, fd: int, times: int) -> None:
    """Case 84: each of several is told once, in place of an answer."""
    device = Device(*[UNIT_ATTENTION] * times, data=page(naa()))
    monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
    assert scsi_generic.identify(fd) == {WWID}
    device = Device(*[UNIT_ATTENTION] * times, data=struct.pack(">QL20x", 2047, 512))
    monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
    assert scsi_generic.capacity(fd) == MIB and device.asked == times + 1
    device = Device(*[UNIT_ATTENTION] * times, data=b"")
    monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
    assert scsi_generic.test_unit_ready(fd) is None and device.asked == times + 1


@pytest.mark.parametrize(("keys", "asked"), [([UNIT_ATTENTION] * 9, 4), ([NOT_READY], 1)])
def test_what_goes_on_or_is_another_error_fails(
    monkeypatch: pytest.MonkeyPatch, fd: int, keys: list[int], asked: int
) -> None:
    device = Device(*keys, data=page(naa()))
    monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
    with pytest.raises(Problem) as refused:
        scsi_generic.identify(fd)
    assert refused.value.code is Code.UNAVAILABLE and device.asked == asked
    monkeypatch.setattr(fcntl, "ioctl", Device(*keys, data=b"").ioctl)
    sense = scsi_generic.test_unit_ready(fd)
    assert sense is not None and sense.key == keys[0]


def test_what_is_no_disk_is_the_wrong_device(monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
    """Case 89: and its kind is named."""
    monkeypatch.setattr(fcntl, "ioctl", Device(data=page(naa(), kind=5)).ioctl)
    with pytest.raises(Problem) as refused:
        scsi_generic.identify(fd)
    assert refused.value.code is Code.WRONG_DEVICE and "CD or DVD drive" in refused.value.detail


@pytest.mark.parametrize("takes", [True, False])
def test_a_size_that_the_kernel_does_not_take_is_not_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, takes: bool
) -> None:
    """Case 84: the kernel's own look may meet a unit attention, and a write to `rescan` does not say so."""
    node = tmp_path / "sda"
    node.write_bytes(bytes(MIB))
    (tmp_path / "rescan").write_text("")

    def rescan(*_: object, **__: object) -> None:
        os.truncate(node, 2 * MIB if takes else MIB)

    monkeypatch.setattr(blocks, "_is_device", lambda *_: True)
    monkeypatch.setattr(scsi_generic, "identify", lambda _: {WWID})
    monkeypatch.setattr(scsi_generic, "capacity", lambda _: 2 * MIB)
    monkeypatch.setattr(blocks, "write", rescan)
    if takes:
        blocks.rescan(str(node), "8:0", WWID, str(tmp_path))
        return
    with pytest.raises(Problem) as refused:
        blocks.rescan(str(node), "8:0", WWID, str(tmp_path))
    assert refused.value.code is Code.UNAVAILABLE and f"{2 * MIB} bytes" in refused.value.detail
