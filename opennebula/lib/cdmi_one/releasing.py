"""MVDS and DELETE: a disk leaves its host. What is persistent stays on its server, whatever is asked; a copy goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cdmi_one import commands
from cdmi_one.clones import Copy, copy_of, found_in, is_ours
from cdmi_one.hosts import detach_at, through
from cdmi_one.places import Place, attachment, disk_place, place_of, vm_id
from cdmi_one.remote import CONFLICT, RemoteFailure
from cdmi_one.settings import Settings, load
from cdmi_one.vm import show

TRIES = 3
"""How often a copy is taken from under a CLONE that was cancelled and goes on, before it is said."""


def mvds(words: Sequence[str]) -> None:
    """`HOST:DISK SOURCE VM DATASTORE`: a persistent object is used no more."""
    place, number = disk_place(words[0])
    _release(place, attachment(vm_id(words[2]), number), load())


def delete(words: Sequence[str]) -> None:
    """`HOST:DISK VM DATASTORE`, or `HOST:DIRECTORY VM DATASTORE`, which is the system datastore's."""
    place, vm, settings = place_of(words[0]), vm_id(words[1]), load()
    if place.number is None:
        return
    _release(place, attachment(vm, place.number), settings)
    disk = show(vm).disk(place.number)
    if not disk.is_clone:
        tell(vm, f"disk {place.number} is no copy: {disk.source} stays")
        return
    _delete_copy(place, copy_of(disk.source, vm, place.number, settings), vm, settings)


def tell(vm: str, text: str) -> None:
    """A line for the VM's log, which is no failure."""
    print(f"INFO: {vm} cdmi: {text}", file=sys.stderr)


def _release(place: Place, name: str, settings: Settings) -> None:
    """Detach, and only then take the link away: while it is in use, it is there."""
    detach_at(place.host, settings, [commands.detach(name), commands.unlink(place)])


def _delete_copy(place: Place, copy: Copy, vm: str, settings: Settings) -> None:
    """Delete the copy, if its own note says that it is one; what is not ours, or not to be told, stays."""
    for last in (*[False] * (TRIES - 1), True):
        printed = through(place.host, settings, [_looked_at(copy)])
        found = found_in(printed)
        if found is None:
            return
        if not is_ours(found, copy):
            tell(vm, f"{copy.place} is not noted as the copy for disk {place.number}: it stays; delete it by hand")
            return
        gone = commands.cdmi("delete", found.by_id(copy.place.server), "--with-snapshots")
        try:
            through(place.host, settings, [gone])
            return
        except RemoteFailure as failure:
            if failure.status != CONFLICT or last:
                raise
        _release(place, copy.name, settings)


def _looked_at(copy: Copy) -> str:
    return commands.tolerate_missing(commands.cdmi("stat", copy.place, "--json"))
