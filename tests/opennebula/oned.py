"""What oned does with VMs whose disks are of the `cdmi` driver: the transfer files of each flow, and its states.

The lines are those that a real oned has written (double slash and all); a failure leaves the VM where oned leaves it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from xml.sax.saxutils import escape

from tests.opennebula.onetm import Done, Drivers

FRONT_END = "fe"
IMAGES = 102
"""The image datastore."""
LOCAL_DS = 101
"""The system datastore that each host has for itself (TM_MAD=ssh)."""


ACTIVE, DONE, POWEROFF = 3, 6, 8
"""STATE (include/VirtualMachine.h)."""


class Lcm(IntEnum):
    """LCM_STATE, as scripts meet it (include/VirtualMachine.h)."""

    INIT = 0
    PROLOG = 1
    RUNNING = 3
    MIGRATE = 4
    PROLOG_MIGRATE = 8
    PROLOG_RESUME = 9
    EPILOG_STOP = 10
    EPILOG = 11
    CLEANUP_RESUBMIT = 15
    HOTPLUG = 17
    CLEANUP_DELETE = 23
    HOTPLUG_SAVEAS = 26
    EPILOG_UNDEPLOY = 30
    PROLOG_UNDEPLOY = 31
    PROLOG_FAILURE = 39
    EPILOG_FAILURE = 40
    PROLOG_MIGRATE_POWEROFF = 43
    PROLOG_MIGRATE_UNKNOWN = 60
    DISK_RESIZE = 62
    DISK_RESIZE_POWEROFF = 63
    DISK_RESIZE_UNDEPLOYED = 64
    SAVEAS_UNDEPLOYED = 67


@dataclass(frozen=True)
class Disk:
    """A disk of a VM as its template has it. `clone`: CLONE=YES; `read_only`: a CDROM or an immutable image."""

    number: int
    source: str
    clone: bool
    read_only: bool = False
    shareable: bool = False
    size_mb: int = 1
    original_mb: int = 1
    tm: str = "cdmi"

    @property
    def save(self) -> bool:
        """SAVE=YES: MVDS at its end, else DELETE. A CDROM has neither SAVE nor CLONE."""
        return not self.clone and not self.read_only


@dataclass(frozen=True)
class Vm:
    """A VM: where it is, and in which state."""

    id: int
    disks: tuple[Disk, ...]
    host: str
    system: str = "shared"
    ds: int = 100
    lcm: Lcm = Lcm.INIT
    history: tuple[tuple[str, int], ...] = ()
    """The hosts before this one, each with its system datastore."""
    done: bool = False
    """Whether it is over (STATE 6, DONE)."""

    def xml(self) -> str:
        """As `onevm show -x` prints it."""
        disks = "".join(_disk_xml(disk) for disk in self.disks)
        state = DONE if self.done else ACTIVE if self.lcm is not Lcm.INIT else POWEROFF
        ids = f"<ID>{self.id}</ID><STATE>{state}</STATE><LCM_STATE>{int(self.lcm)}</LCM_STATE>"
        history = "".join(
            f"<HISTORY><SEQ>{seq}</SEQ><HOSTNAME>{host}</HOSTNAME><DS_ID>{ds}</DS_ID></HISTORY>"
            for seq, (host, ds) in enumerate((*self.history, (self.host, self.ds)))
        )
        records = f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS>"
        return f"<VM>{ids}<TEMPLATE>{disks}<VMID>{self.id}</VMID></TEMPLATE>{records}</VM>"

    def at(self, host: str) -> "Vm":
        """The VM with a further record of its history: on that host."""
        return replace(self, host=host, history=(*self.history, (self.host, self.ds)))

    def base64(self) -> str:
        """As drivers get it on standard input."""
        return base64.b64encode(self.xml().encode()).decode()

    def folder(self, oned: "Oned", host: str) -> str:
        """HOST:DIRECTORY, with the double slash that oned prints."""
        return f"{host}:{oned.location}//datastores/{self.ds}/{self.id}"

    def place(self, oned: "Oned", host: str, disk: Disk) -> str:
        """HOST:DISK."""
        return f"{self.folder(oned, host)}/disk.{disk.number}"


def _disk_xml(disk: Disk) -> str:
    items = {
        "DISK_ID": disk.number,
        "SOURCE": disk.source,
        "CLONE": "YES" if disk.clone else "NO",
        "SAVE": "YES" if disk.save else "NO",
        "SIZE": disk.size_mb,
        "ORIGINAL_SIZE": disk.original_mb,
        "TM_MAD": disk.tm,
        "DATASTORE_ID": IMAGES,
    }
    items |= {"READONLY": "YES"} if disk.read_only else {}
    items |= {"SHAREABLE": "YES"} if disk.shareable else {}
    return (
        f"<DISK>{''.join(f'<{name}><![CDATA[{escape(str(text))}]]></{name}>' for name, text in items.items())}</DISK>"
    )


def message(number: int, **image: object) -> str:
    """DS_DRIVER_ACTION_DATA for an image of that number; what begins with CDMI_ is the datastore's."""
    ours = {name: value for name, value in image.items() if name.startswith(("CDMI_", "BRIDGE"))}
    items = "".join(f"<{name}>{value}</{name}>" for name, value in ({"ID": number} | image).items() if name not in ours)
    template = "".join(f"<{name}>{value}</{name}>" for name, value in ours.items())
    datastore = f"<DATASTORE><ID>{IMAGES}</ID><DS_MAD>cdmi</DS_MAD><TEMPLATE>{template}</TEMPLATE></DATASTORE>"
    text = f"<DS_DRIVER_ACTION_DATA><IMAGE>{items}</IMAGE>{datastore}</DS_DRIVER_ACTION_DATA>"
    return base64.b64encode(text.encode()).decode()


def source_of(action: str, answer: str) -> str:
    """What becomes an image's SOURCE (ImageManagerProtocol.cc): of MKFS, and until 6.4.1 of CLONE, the whole answer.

    Of CP it is the first word; the format has to follow. AssertionError where oned would make it an image in error.
    """
    if action == "cp":
        source, format = answer.split()[:2]
        assert format == "raw", answer
        return source
    assert len(answer.split()) == 1, f"with a blank in it no transfer file can name it: {answer!r}"
    return answer


@dataclass
class Oned:
    """A small oned: it tells its scripts of VMs by `vms/ID.xml`, and keeps the last transfer file of each.

    `vms` is where the stand-in of `onevm` looks.
    """

    drivers: Drivers
    location: Path
    vms: Path
    files: dict[int, list[str]] = field(default_factory=dict)

    def tell(self, vm: Vm, lcm: Lcm | None = None) -> Vm:
        """Put a VM into a state, and let `onevm show` say so."""
        vm = vm if lcm is None else replace(vm, lcm=lcm)
        self.drivers.write(self.vms / f"{vm.id}.xml", vm.xml())
        return vm

    async def transfer(self, vm: Vm, lines: Sequence[str]) -> Done:
        """Write a transfer file, and have it run."""
        self.files[vm.id] = list(lines)
        return await self.drivers.transfer(lines)

    async def retry(self, vm: Vm) -> Done:
        """`onevm recover --retry`: the whole file again, what worked as well."""
        return await self.drivers.transfer(self.files[vm.id])

    # The files, each for the flow of its name.

    def prolog(self, vm: Vm) -> list[str]:
        return [
            f"{'CLONE' if disk.clone else 'LN'}.{vm.system} {disk.tm} {disk.source} "
            f"{vm.place(self, vm.host, disk)} {vm.id} {IMAGES}"
            for disk in vm.disks
        ]

    def epilog(self, vm: Vm, host: str) -> list[str]:
        """The end of a VM; of an undeployed one, `host` is the front-end."""
        return [*(self.farewell(vm, disk, host) for disk in vm.disks), self._delete_folder(vm, host)]

    def farewell(self, vm: Vm, disk: Disk, host: str) -> str:
        """The end of a disk: MVDS or DELETE."""
        if disk.save:
            return f"MVDS.{vm.system} {disk.tm} {vm.place(self, host, disk)} {disk.source} {vm.id} {IMAGES}"
        return self.gone(vm, disk, host)

    def gone(self, vm: Vm, disk: Disk, host: str) -> str:
        """DELETE of a disk, which `recover --delete` sends for persistent ones as well."""
        return f"DELETE.{vm.system} {disk.tm} {vm.place(self, host, disk)} {vm.id} {IMAGES}"

    def cleanup(self, vm: Vm, host: str) -> list[str]:
        """`onevm recover --delete`, and `--recreate`: DELETE for all."""
        return [*(self.gone(vm, disk, host) for disk in vm.disks), self._delete_folder(vm, host)]

    def moves(self, vm: Vm, source: str, destination: str, *, to: Vm | None = None) -> list[str]:
        """MV of each disk, then of the directory; `to` is the VM in another system datastore."""
        there = to or vm
        lines = [
            f"MV.{vm.system} {disk.tm} {vm.place(self, source, disk)} {there.place(self, destination, disk)} "
            f"{vm.id} {IMAGES}"
            for disk in vm.disks
        ]
        folders = f"{vm.folder(self, source)} {there.folder(self, destination)}"
        return [*lines, f"MV {there.system} {folders} {vm.id} {there.ds}"]

    async def no_fail(self, lines: Sequence[str]) -> list[Done]:
        """What the VMM driver's CLEANUP does: each line for itself, whatever becomes of it."""
        return [await self.drivers.transfer([line]) for line in lines]

    def _delete_folder(self, vm: Vm, host: str) -> str:
        return f"DELETE {vm.system} {vm.folder(self, host)} {vm.id} {vm.ds}"
