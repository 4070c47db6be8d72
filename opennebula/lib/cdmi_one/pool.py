"""What oned knows of all its hosts, and which VMs are on one: by its own commands, in XML."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from cdmi_one.failure import Failure, one_line

ASK_S = 120.0
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
    return tuple(_host(found) for found in _ask("onehost", "list", "-x").iterfind("HOST"))


def vms_on(host: Host) -> tuple[str, ...]:
    """The VMs that are on a host, or were on no other since: running, suspended, on their way. Raises `Failure`."""
    last = [
        found.findtext("ID") or ""
        for found in _ask("onevm", "list", "-x").iterfind("VM")
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


def _ask(*words: str) -> ElementTree.Element:
    remedy = "see to it that oned runs and that oneadmin may ask it, and retry"
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ASK_S, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(words)}: {one_line(done.stderr or done.stdout)}", remedy)
        return ElementTree.fromstring(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ElementTree.ParseError) as error:
        raise Failure(f"{' '.join(words)}: {one_line(str(error))}", remedy) from None
