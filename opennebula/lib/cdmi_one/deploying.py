"""LN and CLONE: an object becomes a disk of a VM, as it is, or as a copy that its server makes."""

from __future__ import annotations

from collections.abc import Sequence

from cdmi_one import commands
from cdmi_one.clones import Copy, copy_of, found_in, is_ours
from cdmi_one.failure import Failure
from cdmi_one.places import Place, attachment, disk_place, source_of, vm_id
from cdmi_one.remote import LONG_S, RemoteFailure, run
from cdmi_one.settings import load
from cdmi_one.vm import Disk, show


def ln(words: Sequence[str]) -> None:
    """`SRC HOST:DISK VM DATASTORE`: a persistent object, a CDROM, an immutable one."""
    source, (place, number), vm = str(source_of(words[0])), disk_place(words[1]), vm_id(words[2])
    attached = commands.attach(attachment(vm, number), source, show(vm).disk(number))
    run(place.host, commands.link(attached, place))


def clone(words: Sequence[str]) -> None:
    """`SRC HOST:DISK VM DATASTORE`: a copy of an object, larger where the VM wants it so."""
    source, (place, number), vm = str(source_of(words[0])), disk_place(words[1]), vm_id(words[2])
    copy = copy_of(source, vm, number, load())
    disk = show(vm).disk(number)
    size_mb = disk.size_mb if disk.size_mb > disk.original_mb > 0 else 0
    made = commands.clone(source, str(copy.place), size_mb=size_mb, note=copy.note)
    try:
        run(place.host, [made, *_linked(copy, disk, place)], limit_s=LONG_S)
    except RemoteFailure as failure:
        if failure.status != commands.TAKEN:
            raise
        _take_up(copy, disk, place, size_mb)


def _linked(copy: Copy, disk: Disk, place: Place) -> list[str]:
    return commands.link(commands.attach(copy.name, str(copy.place), disk), place)


def _take_up(copy: Copy, disk: Disk, place: Place, size_mb: int) -> None:
    """Something is at the copy's place: the copy itself, from an earlier try (perhaps on another host), or not ours."""
    found = found_in(run(place.host, [commands.cdmi("stat", copy.place, "--json")]))
    if found is None or not is_ours(found, copy):
        what = f"something else than the copy for this disk is at {copy.place} already"
        raise Failure(what, "look at it (cdmi-attach stat), and move it, or delete it if it is of no use")
    grown = size_mb > 0 and found.size is not None and found.size < size_mb << 20
    grow = [f"{commands.cdmi('set-size', copy.place, size_mb << 20)} >/dev/null"] if grown else []
    run(place.host, [*grow, *_linked(copy, disk, place)])
