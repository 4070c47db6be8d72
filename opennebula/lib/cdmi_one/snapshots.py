"""SNAP_CREATE, SNAP_CREATE_LIVE, SNAP_REVERT, SNAP_DELETE: snapshots that the server keeps with the object."""

from __future__ import annotations

from collections.abc import Sequence

from cdmi_one import commands
from cdmi_one.clones import object_of, snapshot_name, snapshot_of
from cdmi_one.failure import Failure
from cdmi_one.places import attachment, disk_place, vm_id
from cdmi_one.remote import LONG_S, run
from cdmi_one.settings import load
from cdmi_one.vm import show

FROZEN_S = 30
"""How long a guest is held up at most."""
CANNOT = "the guest can be neither frozen nor held up; see virsh list, or power it off first"
VIRSH = 'virsh -c "${LIBVIRT_URI:-qemu:///system}"'


def snap_create(words: Sequence[str]) -> None:
    """`HOST:DISK SNAPSHOT VM DATASTORE`: of a disk that no guest writes to."""
    host, source, name = _named(words)
    run(host, _taken(source, name), limit_s=LONG_S)


def snap_create_live(words: Sequence[str]) -> None:
    """The same of a running guest's disk: its file systems are frozen meanwhile, or else the guest is held up."""
    host, source, name = _named(words)
    domain = f"one-{vm_id(words[2])}"
    frozen = [
        f"if {VIRSH} domfsfreeze {domain} >/dev/null 2>&1; then goes_on=domfsthaw",
        f"elif {VIRSH} suspend {domain} >/dev/null; then goes_on=resume",
        f'else echo "{CANNOT}" >&2; exit 1; fi',
        f"trap '{VIRSH} $goes_on {domain} >/dev/null 2>&1' EXIT",
        "trap 'exit 1' HUP INT TERM PIPE",
    ]
    old, taken = commands.delete(snapshot_of(source, name)), ["snapshot", source, name, "--timeout", FROZEN_S]
    let_go = [f"{VIRSH} $goes_on {domain} >/dev/null", "trap - EXIT"]
    run(host, [old, *frozen, f"{commands.cdmi(*taken)} >/dev/null", *let_go], limit_s=LONG_S)


def snap_revert(words: Sequence[str]) -> None:
    """`HOST:DISK SNAPSHOT VM DATASTORE`: what was written since is gone. The disk is detached meanwhile."""
    (place, number), vm, order = disk_place(words[0]), show(vm_id(words[2])), commands.generation()
    disk, name = vm.disk(number), attachment(vm.id, number)
    source = object_of(disk, vm.id, load())
    attached = commands.attach(name, source, disk, order)
    restored = commands.patiently(commands.cdmi("restore", "--yes", source, snapshot_name(words[1])))
    lost = f"echo '{name} was not brought back, and is not attached any more; retry' >&2"
    lines = [
        commands.detach(name, order),
        f"( {restored} ) || {{ s=$?; ( {attached} ) >/dev/null 2>&1 || {lost}; exit $s; }}",
        *commands.link(attached, place),
    ]
    run(place.host, lines, limit_s=LONG_S)


def snap_delete(words: Sequence[str]) -> None:
    """`HOST:DISK SNAPSHOT VM DATASTORE`: that there is none is success."""
    host, source, name = _named(words)
    run(host, [commands.delete(snapshot_of(source, name))], limit_s=LONG_S)


def _named(words: Sequence[str]) -> tuple[str, str, str]:
    """The host, the object, and what its snapshot is called."""
    (place, number), vm = disk_place(words[0]), show(vm_id(words[2]))
    disk = vm.disk(number)
    if disk.read_only:
        raise Failure(f"disk {number} of VM {vm.id} is read-only", "there is nothing that a snapshot would keep")
    return place.host, object_of(disk, vm.id, load()), snapshot_name(words[1])


def _taken(source: str, name: str) -> list[str]:
    """Take it anew: oned knows of none with that number, so that one which is there was left by what broke off."""
    return [
        commands.delete(snapshot_of(source, name)),
        commands.patiently(commands.cdmi("snapshot", source, name)),
    ]
