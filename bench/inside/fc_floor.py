"""The floor behind Fibre Channel: a scan of one address on each way, the kernel's own event, an INQUIRY; deleting."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.inside.floor import remove, scan
from bench.inside.lun import Lun
from bench.inside.serve import serve

REMOTE = Path("/sys/class/fc_remote_ports")


class FcFloor:
    """The operations in a row, the ways side by side. A LUN's portals are the names of its target ports here.

    `paths`: how many of them are used.
    """

    def __init__(self, *, paths: int) -> None:
        self._paths = paths
        self._disks: dict[str, list[str]] = {}

    def attach(self, lun: Lun) -> str:
        hctls = [f"{place_of(port)}:{lun.number}" for port in lun.portals[: self._paths]]
        with ThreadPoolExecutor(len(hctls)) as pool:
            nodes = list(pool.map(lambda hctl: scan(hctl, lun.wwid), hctls))
        self._disks[lun.name] = hctls
        return nodes[0]

    def detach(self, lun: Lun) -> None:
        gone = self._disks.pop(lun.name)
        with ThreadPoolExecutor(len(gone)) as pool:
            list(pool.map(remove, gone))


def place_of(port: str) -> str:
    """HOST:CHANNEL:TARGET of a remote port that a port of this host sees. Raises `LookupError`."""
    for seen in REMOTE.iterdir():
        if (seen / "port_name").read_text().strip() == f"0x{port}" and int((seen / "scsi_target_id").read_text()) >= 0:
            host, _, rest = seen.name.removeprefix("rport-").partition(":")
            return f"{host}:{rest.partition('-')[0]}:{(seen / 'scsi_target_id').read_text().strip()}"
    raise LookupError(f"no port here sees {port}")


def make(options: Mapping[str, Any]) -> FcFloor:
    return FcFloor(paths=options.get("paths", 1))


if __name__ == "__main__":
    serve(make)
