"""The floor on NFS: mount(2), the file, and where a disk is wanted what LIO needs to make one of it, and an INQUIRY."""

import ctypes
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.inside.floor import block_device, inquiry, uevents, until
from bench.inside.lun import Lun
from bench.inside.serve import serve

POINT = Path("/run/bench-nfs")
TARGET = Path("/sys/kernel/config/target")
HBA = TARGET / "core/fileio_4242"
NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_libc = ctypes.CDLL(None, use_errno=True)


class NfsFloor:
    """The operations in a row, with nothing between them."""

    def __init__(self, *, disk: bool) -> None:
        self._disk = disk
        self._used: dict[str, str] = {}

    def attach(self, lun: Lun) -> str:
        if not self._used:
            _mount(lun.portals[0])
        file = POINT / lun.target
        self._used[lun.name] = _disk_of(lun, file) if self._disk else ""
        return self._used[lun.name] or str(file)

    def detach(self, lun: Lun) -> None:
        if self._used.pop(lun.name):
            _undo(lun)
        if not self._used:
            _called(_libc.umount2(str(POINT).encode(), 0))


def _mount(source: str) -> None:
    POINT.mkdir(exist_ok=True)
    data = f"vers=4.2,addr={source.partition(':')[0]},clientaddr=0.0.0.0"
    words = (source.encode(), str(POINT).encode(), b"nfs4", NOSUID_NODEV_NOEXEC, data.encode())
    _called(_libc.mount(*words))


def _called(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "mount or umount")


def _parts(lun: Lun) -> tuple[str, Path, Path]:
    serial = lun.name.encode().hex().ljust(9, "0")[-9:]
    return serial, HBA / lun.name, TARGET / f"loopback/naa.5001405{serial}"


def _disk_of(lun: Lun, file: Path) -> str:
    serial, backstore, target = _parts(lun)
    backstore.mkdir(parents=True)
    (backstore / "control").write_text(f"fd_dev_name={file},fd_dev_size={file.stat().st_size},fd_async_io=1")
    (backstore / "wwn/vpd_unit_serial").write_text(serial)
    (backstore / "enable").write_text("1")
    unit = target / "tpgt_1/lun/lun_0"
    (target / "tpgt_1").mkdir(parents=True)
    (target / "tpgt_1/nexus").write_text(f"naa.5001405{serial[::-1]}")
    address = (target / "tpgt_1/address").read_text().strip()
    unit.mkdir()
    with closing(uevents()) as events:
        (unit / "bench").symlink_to(backstore)
        node = block_device(events, f"{address}:0")
    inquiry(node)
    return node


def _undo(lun: Lun) -> None:
    _, backstore, target = _parts(lun)
    unit = target / "tpgt_1/lun/lun_0"
    device = Path(f"/sys/class/scsi_device/{(target / 'tpgt_1/address').read_text().strip()}:0")
    with closing(uevents()) as events:
        (unit / "bench").unlink()
        until(events, lambda: not device.exists())
    (target / "tpgt_1/nexus").write_text("NULL")
    for part in (unit, target / "tpgt_1", target, backstore):
        part.rmdir()
    if not any(part.is_dir() for part in HBA.iterdir()):
        HBA.rmdir()


def make(options: Mapping[str, Any]) -> NfsFloor:
    return NfsFloor(disk=options.get("present") != "file")


if __name__ == "__main__":
    serve(make)
