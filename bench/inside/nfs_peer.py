"""The peer on NFS: os-brick's RemoteFsConnector, which mounts a share once and for all: its detach does nothing."""

import importlib
from collections.abc import Mapping
from typing import Any

from bench.inside.lun import Lun
from bench.inside.peer import set_up
from bench.inside.scene import PEER_MOUNTS
from bench.inside.serve import serve


class NfsPeer:
    """One connector for all files. A LUN's portal is the share here, its target the file in it."""

    def __init__(self) -> None:
        connectors = importlib.import_module("os_brick.initiator.connector")
        self._connector = connectors.InitiatorConnector.factory(
            "NFS", None, nfs_mount_point_base=str(PEER_MOUNTS), nfs_mount_options="vers=4.2"
        )

    def attach(self, lun: Lun) -> str:
        path: str = self._connector.connect_volume(properties(lun))["path"]
        return path

    def detach(self, lun: Lun) -> None:
        self._connector.disconnect_volume(properties(lun), None)


def properties(lun: Lun) -> dict[str, Any]:
    """os-brick's connection properties."""
    return {"export": lun.portals[0], "name": lun.target}


def make(_options: Mapping[str, Any]) -> NfsPeer:
    set_up()
    return NfsPeer()


if __name__ == "__main__":
    serve(make)
