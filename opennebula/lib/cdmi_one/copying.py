"""RESIZE and CPDS: a disk becomes larger, or what is on it becomes an image of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cdmi_one import commands
from cdmi_one.clones import COPIED_FROM, OWNER, found_in, object_of, owner, snapshot_name, snapshot_of
from cdmi_one.failure import Failure
from cdmi_one.hosts import through
from cdmi_one.places import attachment, disk_place, source_of, vm_id
from cdmi_one.remote import RemoteFailure, run
from cdmi_one.settings import Settings, load
from cdmi_one.vm import show

RUNS = 62
"""DISK_RESIZE: of a running VM."""
UNDEPLOYED = 64
"""DISK_RESIZE_UNDEPLOYED: oned names the last host, where nothing is attached any more."""
SAVED_WHILE_RUNNING = 26
"""HOTPLUG_SAVEAS."""
IMAGE = re.compile(r"img-(\d+)", re.ASCII)


def resize(words: Sequence[str]) -> None:
    """`HOST:DISK MIB VM DATASTORE`: on the server first, then on the host, where it is attached."""
    (place, number), vm, settings = disk_place(words[0]), show(vm_id(words[2])), load()
    if not (words[1].isascii() and words[1].isdigit() and int(words[1]) > 0):
        raise Failure(f"{words[1]!r} is no size", "give MiB")
    disk = vm.disk(number)
    source = object_of(disk, vm.id, settings)
    grown = f"{commands.cdmi('set-size', source, int(words[1]) << 20)} >/dev/null"
    seen = f"{commands.cdmi('resize', attachment(vm.id, number))} >/dev/null"
    if vm.lcm_state == UNDEPLOYED:
        through(place.host, settings, [grown])
        return
    run(place.host, [grown, seen if vm.lcm_state == RUNS else commands.tolerate_missing(seen)])


def cpds(words: Sequence[str]) -> None:
    """`HOST:DISK NEW_SOURCE SNAPSHOT VM DATASTORE`: a copy of the disk, or of its snapshot (-1: as it is)."""
    (place, number), vm, settings = disk_place(words[0]), show(vm_id(words[3])), load()
    new, source = str(source_of(words[1])), object_of(vm.disk(number), vm.id, settings)
    before: list[str] = []
    after: list[str] = []
    if words[2] != "-1":
        source = snapshot_of(source, snapshot_name(words[2]))
    elif vm.lcm_state == SAVED_WHILE_RUNNING:  # what is copied must not change meanwhile
        name = "one-saveas"
        gone = commands.delete(snapshot_of(source, name))
        before, after = [gone, f"{commands.cdmi('snapshot', source, name)} >/dev/null"], [gone]
        source = snapshot_of(source, name)
    copy(place.host, source, new, settings, before=before, after=after)


def copy(
    host: str,
    source: str,
    new: str,
    settings: Settings,
    *,
    size_mb: int = 0,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> None:
    """Make an image that is a copy: again is success. Raises `Failure`.

    Where something comes before the copy, it is looked first: an earlier try's copy may be made of what that replaces.
    """
    note = note_of(new, settings, source)
    made = commands.clone(source, new, size_mb=size_mb, note=note)
    lines = [*before, made, *after]
    try:
        through(host, settings, after if before and _is_there(host, new, settings, note) else lines)
    except RemoteFailure as failure:
        if failure.status != commands.TAKEN or not _is_there(host, new, settings, note):
            raise
        through(host, settings, after)


def _is_there(host: str, new: str, settings: Settings, note: Mapping[str, str]) -> bool:
    """Whether the image is, all of it. Raises `Failure` where it is being made, or something else is there."""
    found = found_in(through(host, settings, [commands.tolerate_missing(commands.cdmi("stat", new, "--json"))]))
    if found is None:
        return False
    if found.pending:
        raise Failure(f"{new} is no image yet: {found.pending}", "retry when that is done")
    if any(found.metadata.get(name) != text for name, text in note.items()):
        raise Failure(f"something else is at {new} already", "look at it (cdmi-attach stat), and retry")
    return True


def note_of(place: str, settings: Settings, source: str = "") -> dict[str, str]:
    """The note of an image that OpenNebula has made, which its place names."""
    found = IMAGE.search(place.rpartition("/")[2])
    return {OWNER: owner(settings, "image", found[1] if found else place.rpartition("/")[2]), COPIED_FROM: source}
