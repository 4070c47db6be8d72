"""MVDS and DELETE: a disk leaves its host. What is persistent stays on its server, whatever is asked; a copy goes."""

from __future__ import annotations

from collections.abc import Sequence

from cdmi_one import commands
from cdmi_one.clones import copy_of
from cdmi_one.deleting import delete_copy, tell
from cdmi_one.failure import Failure
from cdmi_one.hosts import detach_at
from cdmi_one.places import Place, attachment, disk_place, place_of, vm_id
from cdmi_one.settings import Settings, load
from cdmi_one.vm import Vm, show

CLEANUP = frozenset({15, 23})
"""CLEANUP_RESUBMIT, CLEANUP_DELETE (include/VirtualMachine.h): `onevm recover` with --recreate, --delete."""


def mvds(words: Sequence[str]) -> None:
    """`HOST:DISK SOURCE VM DATASTORE`: a persistent object is used no more."""
    place, number = disk_place(words[0])
    _release(place, attachment(vm_id(words[2]), number), load(), commands.generation())


def delete(words: Sequence[str]) -> None:
    """`HOST:DISK VM DATASTORE`, or `HOST:DIRECTORY VM DATASTORE`, which is the system datastore's."""
    place, vm, settings = place_of(words[0]), vm_id(words[1]), load()
    if place.number is None:
        return
    order = commands.generation()
    _release(place, attachment(vm, place.number), settings, order)
    known = show(vm)
    disk = known.disk(place.number)
    if known.is_done or known.lcm_state in CLEANUP:  # done: where a migration is given up, oned does not wait for us
        _release_before(place, known, settings, order)
    if not disk.is_clone:
        tell(vm, f"disk {place.number} is no copy: {disk.source} stays")
        return
    copy = copy_of(disk.source, vm, place.number, settings)
    delete_copy(copy, place.host, vm, settings, lambda: _release(place, copy.name, settings, order))


def _release(place: Place, name: str, settings: Settings, order: int) -> None:
    """Detach, and only then take the link away: while it is in use, it is there."""
    detach_at(place.host, settings, [commands.detach(name, order), commands.unlink(place)])


def _release_before(place: Place, known: Vm, settings: Settings, order: int) -> None:
    """In the middle of a migration oned names one host of two, or this one first: the one before has it as well."""
    before = next((host for host in reversed(known.hosts[:-1]) if host and host != place.host), "")
    if not before:
        return
    name = attachment(known.id, place.number or 0)
    try:
        detach_at(before, settings, [commands.detach(name, order)])
    except Failure as failure:
        tell(known.id, f"{name} may be left at {before}: {failure}; see cdmi-attach status there")
