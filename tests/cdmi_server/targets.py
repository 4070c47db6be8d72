"""What the storage network shows: the contract, and the implementations without a kernel behind them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from tests.cdmi_server.store import write_atomically

_ISCSI_PORT = 3260
SERIAL_DIGITS = 25


class TargetsMode(StrEnum):
    """Which storage network stands behind the exports."""

    LIO = "lio"
    SIMULATED = "simulated"
    NONE = "none"


class TargetsError(Exception):
    """The storage network could not be made what the exports say."""


@dataclass(frozen=True)
class Lun:
    """One logical unit as initiators find it: where it answers, what answers there, and who may ask.

    Of Fibre Channel, `target` is a port's name, and there are no portals.
    """

    target: str
    portals: tuple[str, ...]
    """Addresses with ports, as in 192.0.2.1:3260 or [2001:db8::1]:3260."""
    lun: int
    serial: str
    """The 25 hexadecimal digits of its NAA identifier that are its own."""
    size: int
    file: Path
    initiators: tuple[str, ...]


FLAT = "x_flat"
"""Metadata: the target answers this LUN's number in flat space addressing, and in no other form."""


def number_on_the_wire(number: int, metadata: Mapping[str, Any]) -> int:
    """A LUN's number as initiators have to say it, in the kernel's count (SAM-5 4.7.7.3; scsi_common.c)."""
    return 0x4000 | number if metadata.get(FLAT) else number


class Targets(Protocol):
    """A storage network that can be told what it shall show."""

    @property
    def exports(self) -> bool:
        """Whether containers can be exported at all."""
        ...

    async def apply(self, luns: Sequence[Lun]) -> None:
        """Make exactly these LUNs visible, and touch nothing that is right already.

        Raises TargetsError.
        """
        ...


class NoTargets:
    """A server without block exports."""

    exports = False

    async def apply(self, luns: Sequence[Lun]) -> None:
        """Have nothing to do."""


class SimulatedTargets:
    """Describes the storage network in a JSON file, for a simulated host to read."""

    exports = True

    def __init__(self, file: Path) -> None:
        self._file = file

    async def apply(self, luns: Sequence[Lun]) -> None:
        """Replace the description as a whole."""
        described = [_describe(lun) for lun in sorted(luns, key=lambda lun: (lun.target, lun.lun))]
        write_atomically(self._file, json.dumps({"luns": described}, indent=1) + "\n")


def _describe(lun: Lun) -> dict[str, object]:
    return {
        "target": lun.target,
        "portals": list(lun.portals),
        "lun": lun.lun,
        "wwid": f"naa.{naa(lun.serial)}",
        "size": lun.size,
        "initiators": list(lun.initiators),
    }


def serial(object_id: str) -> str:
    """Return the LUN's 25 digits of its NAA identifier: the last ones of its object ID."""
    return object_id[-SERIAL_DIGITS:].lower()


def naa(serial: str) -> str:
    """Return the NAA-6 identifier that LIO forms: its company ID 001405 and 25 digits of the unit serial.

    Source: drivers/target/target_core_spc.c, spc_gen_naa_6h_vendor_specific().
    """
    return f"6001405{serial}"


def with_port(portal: str) -> str:
    """Return the portal with its TCP port, 3260 unless it names one."""
    host_only = portal.endswith("]") or ":" not in portal
    return f"{portal}:{_ISCSI_PORT}" if host_only else portal
