"""What a host is and can do, as values."""

import ipaddress
from dataclasses import dataclass

from attachers import checks


@dataclass(frozen=True, slots=True)
class HostQuery:
    """Ask what this host is and can do, and its name on sessions of `iface`, an interface of open-iscsi, or empty."""

    iface: str = ""

    def __post_init__(self) -> None:
        checks.iface(self.iface)


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether a protocol works here, and if not, why."""

    available: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HostSight:
    """What this host is: its names towards the storage network, and what it can do.

    `initiator_name` is what a login says; where that is the name of an interface's own, `own_name` is the host's.
    `ailing` says what is wrong with the record of what was created here.
    """

    hostname: str
    initiator_name: str
    wwpns: tuple[str, ...]
    iscsi: Ability
    libvirt: Ability
    kernel: str
    boot_id: str
    stragglers: int = 0
    fc: Ability = Ability(available=False, reason="this host has no Fibre Channel port")
    multipath: Ability = Ability(available=False, reason="nobody looked for multipathd")
    nfs: Ability = Ability(available=False, reason="the kernel has no module nfsv4")
    ailing: str = ""
    own_name: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name by which a server may know this host."""
        return tuple(name for name in (self.initiator_name, self.own_name, *self.wwpns) if name)


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """Ask by which of its addresses this host reaches a server, which is told by its own."""

    server: str

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.server)
        except ValueError:
            raise checks.refuse("server", self.server, "an IP address") from None


@dataclass(frozen=True, slots=True)
class RouteSight:
    """The address that this host's packets to a server have, the interface that they leave by, and the gateway (empty:
    none is in between).
    """

    address: str
    interface: str
    gateway: str = ""
