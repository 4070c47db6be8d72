"""The floor behind Fibre Channel: one scan of one address, the kernel's own event, an INQUIRY; deleting the disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside.floor import remove, scan
from bench.inside.lun import Lun
from bench.inside.serve import serve

REMOTE = Path("/sys/class/fc_remote_ports")


class FcFloor:
    """The operations in a row. A LUN's portals are the names of its target ports here; the first one is used."""

    def __init__(self) -> None:
        self._disks: dict[str, str] = {}

    def attach(self, lun: Lun) -> str:
        hctl = f"{place_of(lun.portals[0])}:{lun.number}"
        node = scan(hctl, lun.wwid)
        self._disks[lun.name] = hctl
        return node

    def detach(self, lun: Lun) -> None:
        remove(self._disks.pop(lun.name))


def place_of(port: str) -> str:
    """HOST:CHANNEL:TARGET of a remote port that a port of this host sees. Raises `LookupError`."""
    for seen in REMOTE.iterdir():
        if (seen / "port_name").read_text().strip() == f"0x{port}" and int((seen / "scsi_target_id").read_text()) >= 0:
            host, _, rest = seen.name.removeprefix("rport-").partition(":")
            return f"{host}:{rest.partition('-')[0]}:{(seen / 'scsi_target_id').read_text().strip()}"
    raise LookupError(f"no port here sees {port}")


def make(_options: Mapping[str, Any]) -> FcFloor:
    return FcFloor()


if __name__ == "__main__":
    serve(make)
