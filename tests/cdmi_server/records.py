"""What the server keeps of an object, as values that become JSON and come back from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

_MEDIA = "application/cdmi-"


class Kind(StrEnum):
    """What an object is; the value is the end of its media type (RFC 6208)."""

    CONTAINER = "container"
    OBJECT = "object"
    CAPABILITY = "capability"

    @property
    def media_type(self) -> str:
        return _MEDIA + self.value


@dataclass(frozen=True)
class Export:
    """The iSCSI export of a LUN: its target's IQN, its number there, and the initiators that may use it."""

    target: str
    lun: int
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True)
class FcExport:
    """The Fibre Channel export of a LUN: its number at every target port, and the ports that may use it."""

    lun: int
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volume:
    """What makes a container a LUN: its size in bytes, its exports, and whose bytes really answer there."""

    size: int
    export: Export | None = None
    backing: str = ""
    """Object ID of the LUN that answers at these exports; empty: its own (see the swap fault)."""
    fibre: FcExport | None = None


@dataclass(frozen=True)
class Making:
    """How far the server is with making an object: reads that find it in the making, reads before that find nothing."""

    reads: int = 0
    hidden: int = 0
    error: str = ""


@dataclass(frozen=True)
class Record:
    """One container or data object, without its value."""

    id: str
    name: str
    parent: str
    """Object ID of the parent; empty for the root container."""
    kind: Kind
    ctime: str
    mtime: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    mimetype: str = ""
    encoding: str = ""
    volume: Volume | None = None
    making: Making = Making()

    @property
    def slashed(self) -> str:
        """The name as it stands in a list of children."""
        return f"{self.name}/" if self.kind is Kind.CONTAINER else self.name


def now() -> str:
    """Return the time of day as CDMI writes it: UTC, six digits, Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_json(record: Record) -> dict[str, Any]:
    """Return the record as a JSON object."""
    return asdict(record)


def from_json(data: Mapping[str, Any]) -> Record:
    """Return the record that to_json wrote."""
    kind, making = Kind(data["kind"]), Making(**data.get("making", {}))
    return Record(**{**data, "kind": kind, "volume": _volume(data["volume"]), "making": making})


def _volume(data: Mapping[str, Any] | None) -> Volume | None:
    if data is None:
        return None
    export = data["export"]
    if export is not None:
        export = Export(export["target"], export["lun"], tuple(export["permissions"]))
    fibre = data.get("fibre")
    return Volume(
        data["size"], export, data["backing"], FcExport(fibre["lun"], tuple(fibre["permissions"])) if fibre else None
    )
