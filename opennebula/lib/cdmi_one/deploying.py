"""LN and CLONE: an object becomes a disk of a VM, as it is, or as a copy that its server makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdmi_one import commands
from cdmi_one.clones import DEPLOYMENT, Copy, copy_of, found_in, is_ours
from cdmi_one.deleting import delete_copy
from cdmi_one.failure import Failure
from cdmi_one.places import Place, attachment, disk_place, source_of, vm_id
from cdmi_one.remote import CONFLICT, LONG_S, RemoteFailure, run
from cdmi_one.settings import load
from cdmi_one.vm import Disk, show


def ln(words: Sequence[str]) -> None:
    """`SRC HOST:DISK VM DATASTORE`: a persistent object, a CDROM, an immutable one."""
    source, (place, number), vm = str(source_of(words[0])), disk_place(words[1]), vm_id(words[2])
    order = commands.generation()
    attached = commands.attach(attachment(vm, number), source, show(vm).disk(number), order)
    run(place.host, commands.link(attached, place))


def clone(words: Sequence[str]) -> None:
    """`SRC HOST:DISK VM DATASTORE`: a copy of an object, larger where the VM wants it so."""
    source, (place, number), vm = str(source_of(words[0])), disk_place(words[1]), vm_id(words[2])
    order, settings = commands.generation(), load()
    copy, known = copy_of(source, vm, number, settings), show(vm)
    disk, note = known.disk(number), {**copy.note, DEPLOYMENT: str(known.sequence)}
    made = commands.clone(source, str(copy.place), size_mb=_grown_mb(disk), note=note)
    lines = [made, *_linked(copy, disk, place, order)]
    try:
        try:
            run(place.host, lines, limit_s=LONG_S)
        except RemoteFailure as failure:
            if failure.status != commands.TAKEN:
                raise
            run(place.host, _instead(copy, disk, place, note, lines, order), limit_s=LONG_S)
    except RemoteFailure as failure:
        if failure.status == CONFLICT and _is_late(copy, disk, place, order):
            delete_copy(copy, place.host, vm, settings, lambda: None)
        raise


def _is_late(copy: Copy, disk: Disk, place: Place, order: int) -> bool:
    """Whether the VM's disk was given up since this script began: nobody will ask for the copy's end again."""
    try:
        run(place.host, [f"{commands.request(copy.name, str(copy.place), disk, order)} --json"])
    except RemoteFailure as failure:
        return '"stale"' in failure.printed
    return False


def _grown_mb(disk: Disk) -> int:
    """The size of a copy that is to be larger than its source, in MiB; else 0."""
    return disk.size_mb if disk.size_mb > disk.original_mb > 0 else 0


def _linked(copy: Copy, disk: Disk, place: Place, order: int) -> list[str]:
    return commands.link(commands.attach(copy.name, str(copy.place), disk, order), place)


def _instead(
    copy: Copy, disk: Disk, place: Place, note: Mapping[str, str], lines: Sequence[str], order: int
) -> list[str]:
    """What to do where something is at the copy's place. Raises `Failure` where that is not ours.

    It is the copy itself, from an earlier try (perhaps on another host); or that of an earlier deployment, whose host
    was lost before it could be deleted: what is on that one is not wanted any more.
    """
    found = found_in(run(place.host, [commands.tolerate_missing(commands.cdmi("stat", copy.place, "--json"))]))
    if found is None:
        raise Failure(f"the copy for this disk is being made, or unmade, at {copy.place}", "retry when that is done")
    if not is_ours(found, copy):
        what = f"something else than the copy for this disk is at {copy.place} already"
        raise Failure(what, "look at it (cdmi-attach stat), and move it, or delete it if it is of no use")
    if found.metadata.get(DEPLOYMENT) != note[DEPLOYMENT]:
        old = commands.delete(found.by_id(copy.place.server), "--with-snapshots")
        return [commands.detach(copy.name, order), old, *lines]
    size = _grown_mb(disk) << 20
    grow = [f"{commands.cdmi('set-size', copy.place, size)} >/dev/null"] if size > (found.size or size) else []
    return [*grow, *_linked(copy, disk, place, order)]
