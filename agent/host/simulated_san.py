"""The storage network that a simulated host sees: LUNs behind targets and portals, in memory or from a JSON file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from agent.host.simulated_shares import Servers
from attachers import checks


@dataclass(frozen=True, slots=True)
class Lun:
    """A logical unit as one target shows it: at these portals, under this number, to these initiators.

    Of a Fibre Channel target (by its port's name) there are no portals, and initiators are port names. `also` are more
    names that the unit answers to an INQUIRY; `wwid` is that which the kernel remembers.
    """

    target: str
    portals: tuple[str, ...]
    lun: int
    wwid: str
    size: int
    initiators: tuple[str, ...]
    read_only: bool = False
    also: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All names of the unit."""
        return frozenset({self.wwid, *self.also})


class San:
    """What targets and NFS servers show right now. A change here does not tell the hosts: that is the point of it.

    `dead` are portals that do not answer; `astray` is what answers at one portal (target, portal, LUN) instead of the
    unit that its target shows (a mapping gone wrong); `access` is the ALUA state of a LUN there, where it is none that
    carries I/O: it answers to an INQUIRY, and fails every read. `stored` is what has reached each logical unit, in the
    order of its arrival, `failing` how many write-outs of it will fail yet. With a `path`, the LUNs are read from that
    file
    (`{"luns": [{"target", "portals", "lun", "wwid", "size", "initiators"}]}`) and again whenever it changed.
    """

    def __init__(self, luns: Iterable[Lun] = (), *, path: Path | None = None) -> None:
        self._luns = list(luns)
        self._path = path
        self._read: tuple[int, int] | None = None
        self.dead: set[str] = set()
        self.astray: dict[tuple[str, str, int], str] = {}
        self.access: dict[tuple[str, str, int], str] = {}
        self.nfs = Servers()
        self.stored: dict[str, list[str]] = {}
        self.failing: dict[str, int] = {}

    def add(self, lun: Lun) -> None:
        """Show one more LUN."""
        self._luns.append(lun)

    def remove(self, target: str, lun: int) -> None:
        """Show a LUN no more; hosts that know it are not told."""
        self._luns = [one for one in self._luns if (one.target, one.lun) != (target, lun)]

    def swap(self, target: str, lun: int, *, wwid: str, size: int | None = None) -> None:
        """Put another logical unit behind the same target and LUN number."""
        self._luns = [
            replace(one, wwid=wwid, size=size or one.size, also=()) if (one.target, one.lun) == (target, lun) else one
            for one in self._luns
        ]

    def shown(self, initiator: str, target: str, portal: str) -> list[Lun]:
        """The LUNs that this initiator sees there, dead or not."""
        return [
            one
            for one in self._current()
            if one.target == target and (portal in one.portals or not one.portals) and initiator in one.initiators
        ]

    def answer(self, initiator: str, target: str, portal: str, lun: int) -> Lun | None:
        """The logical unit that answers a command there, None when there is no answer."""
        if portal in self.dead:
            return None
        found = next((one for one in self.shown(initiator, target, portal) if one.lun == lun), None)
        wwid = self.astray.get((target, portal, lun))
        return replace(found, wwid=wwid, also=()) if found and wwid else found

    def _current(self) -> list[Lun]:
        if self._path is not None and self._path.exists():
            stat = self._path.stat()
            if self._read != (stat.st_mtime_ns, stat.st_size):
                self._luns = [_lun(one) for one in json.loads(self._path.read_text())["luns"]]
                self._read = (stat.st_mtime_ns, stat.st_size)
        return self._luns


def _lun(values: dict[str, object]) -> Lun:
    """One LUN of the file. Raises `Problem`, KeyError or TypeError where it is not as described."""
    portals, initiators = values["portals"], values["initiators"]
    assert isinstance(portals, list) and isinstance(initiators, list)
    lun, size = values["lun"], values["size"]
    assert isinstance(lun, int) and isinstance(size, int)
    return Lun(
        target=_name(str(values["target"])),
        portals=tuple(checks.portal(str(portal)) for portal in portals),
        lun=checks.lun(lun),
        wwid=checks.wwid(str(values["wwid"])),
        size=size,
        initiators=tuple(_name(str(name)) for name in initiators),
        read_only=bool(values.get("read_only", False)),
    )


def _name(value: str) -> str:
    return value if checks.is_wwpn(value) else checks.iqn(value)
