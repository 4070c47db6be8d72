"""The peer: os-brick's ISCSIConnector in one long-lived process, with its privileged half as a forked daemon.

The fork method of oslo.privsep gives what services have that use os-brick (a privileged daemon behind a socket),
without sudo. `multipath` in the options is os-brick's `use_multipath`; `enforce_multipath` stays off. With one portal
the properties are those of a single path; with several they carry all of them, as Cinder's drivers give them.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside.lun import Lun
from bench.inside.serve import serve

LOCKS = "/run/bench-peer"
SCAN_ATTEMPTS = 3  # os-brick's and Nova's default


class Peer:
    """One connector for all LUNs, as a compute service has."""

    def __init__(self, *, multipath: bool) -> None:
        connectors = importlib.import_module("os_brick.initiator.connector")
        self._connector = connectors.InitiatorConnector.factory(
            "ISCSI", None, use_multipath=multipath, device_scan_attempts=SCAN_ATTEMPTS, enforce_multipath=False
        )
        self._devices: dict[str, Any] = {}

    def attach(self, lun: Lun) -> str:
        device = self._devices[lun.name] = self._connector.connect_volume(properties(lun))
        path: str = device["path"]
        return path

    def detach(self, lun: Lun) -> None:
        self._connector.disconnect_volume(properties(lun), self._devices.pop(lun.name))


def properties(lun: Lun) -> dict[str, Any]:
    """os-brick's connection properties."""
    found: dict[str, Any] = {
        "target_discovered": False,
        "target_portal": lun.portals[0],
        "target_iqn": lun.target,
        "target_lun": lun.number,
        "volume_id": lun.name,
    }
    if len(lun.portals) > 1:
        count = len(lun.portals)
        found |= {"target_portals": list(lun.portals), "target_iqns": [lun.target] * count}
        found |= {"target_luns": [lun.number] * count}
    return found


def make(options: Mapping[str, Any]) -> Peer:
    """The connector, where os-brick is set up."""
    set_up()
    return Peer(multipath=bool(options.get("multipath")))


def set_up() -> None:
    """Set os-brick up as a service does: configuration, lock folder, privileged daemon."""
    Path(LOCKS).mkdir(parents=True, exist_ok=True)
    conf = importlib.import_module("oslo_config.cfg").CONF
    conf([], project="bench")
    importlib.import_module("oslo_concurrency.lockutils").set_defaults(LOCKS)
    importlib.import_module("os_brick").setup(conf)
    fork = importlib.import_module("oslo_privsep.priv_context").Method.FORK
    importlib.import_module("os_brick.privileged").default.start(fork)


if __name__ == "__main__":
    serve(make)
