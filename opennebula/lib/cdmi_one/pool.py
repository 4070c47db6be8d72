"""What oned knows of all its hosts, and which VMs are on one: by its own commands, in XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from cdmi_one import oned

ATTRIBUTE = "CDMI_INITIATORS"
"""What the probe of the hosts tells oned: initiator name and port names, separated by blanks or commas."""
LOST = frozenset({3, 5})
"""ERROR, MONITORING_ERROR (include/Host.h)."""
MONITORED = frozenset({1, 2})
"""MONITORING_MONITORED, MONITORED."""


@dataclass(frozen=True)
class Host:
    """A host: its number, name and state, the VMs on it, and what it is called on the storage network."""

    id: str
    name: str
    state: str
    vms: tuple[str, ...]
    initiators: tuple[str, ...]

    @property
    def is_lost(self) -> bool:
        """Whether oned cannot reach it."""
        return self.state in map(str, LOST)

    @property
    def is_well(self) -> bool:
        """Whether oned hears of it."""
        return self.state in map(str, MONITORED)


def hosts() -> tuple[Host, ...]:
    """All of them. Raises `Failure`."""
    return tuple(_host(found) for found in oned.listed("host").iterfind("HOST"))


def vms_on(host: Host) -> tuple[str, ...]:
    """The VMs that are on a host, or were on no other since: running, suspended, on their way. Raises `Failure`."""
    last = [
        found.findtext("ID") or ""
        for found in oned.listed("vm").iterfind("VM")
        if host.name in (record.findtext("HOSTNAME") for record in found.iterfind("HISTORY_RECORDS/HISTORY"))
    ]
    return tuple(sorted({*host.vms, *last} - {""}, key=int))


def _host(found: ElementTree.Element) -> Host:
    told = found.findtext(f"TEMPLATE/{ATTRIBUTE}") or ""
    return Host(
        id=found.findtext("ID") or "",
        name=found.findtext("NAME") or "",
        state=found.findtext("STATE") or "",
        vms=tuple(one.text or "" for one in found.iterfind("VMS/ID")),
        initiators=tuple(told.replace(",", " ").split()),
    )
