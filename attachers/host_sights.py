"""What a host is and can do, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostQuery:
    """Ask what this host is and can do."""


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether a protocol works here, and if not, why."""

    available: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HostSight:
    """What this host is: its names towards the storage network, and what it can do."""

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
