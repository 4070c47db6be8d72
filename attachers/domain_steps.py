"""The steps that change a libvirt domain: its disks. Part of `attachers.steps`, where their rules are told."""

from dataclasses import dataclass

from attachers import checks


@dataclass(frozen=True, slots=True)
class GiveDisk:
    """Hot-plug what is published of an attachment (`kind`: block or file) into a running libvirt domain, raw."""

    name: str
    domain: str
    target: str
    bus: str
    read_only: bool
    kind: str = "block"

    def __post_init__(self) -> None:
        checks.name(self.name)
        checks.domain(self.domain)
        checks.disk_target(self.target)
        if self.kind not in ("block", "file"):
            raise checks.refuse("kind", self.kind, "block or file")
        if self.bus not in ("scsi", "virtio", "sata"):
            raise checks.refuse("bus", self.bus, "one of scsi, virtio, sata")

    def describe(self) -> str:
        return f"give {self.name} to domain {self.domain} as {self.target}"


@dataclass(frozen=True, slots=True)
class ResizeDisk:
    """Tell a running libvirt domain the new size (bytes) of the disk of an attachment."""

    name: str
    domain: str
    target: str
    size: int

    def __post_init__(self) -> None:
        checks.name(self.name)
        checks.domain(self.domain)
        checks.disk_target(self.target)
        if self.size <= 0:
            raise checks.refuse("size", self.size, "a number of bytes")

    def describe(self) -> str:
        return f"tell domain {self.domain} that {self.target} has {self.size} bytes"


@dataclass(frozen=True, slots=True)
class TakeDisk:
    """Hot-unplug the disk of an attachment from a running libvirt domain."""

    name: str
    domain: str
    target: str

    def __post_init__(self) -> None:
        checks.name(self.name)
        checks.domain(self.domain)
        checks.disk_target(self.target)

    def describe(self) -> str:
        return f"take {self.name} from domain {self.domain}"
