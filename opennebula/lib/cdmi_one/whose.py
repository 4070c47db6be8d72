"""Whose a disk is, for stock scripts that were patched: by what oned says its source is."""

from __future__ import annotations

from collections.abc import Sequence

from cdmi_one.failure import Failure
from cdmi_one.places import disk_place, vm_id
from cdmi_one.vm import show

VM_AT = {"mv": 2, "delete": 1, "resize": 2, "cpds": 3}
"""Which argument of a verb is the VM; of the snapshots' it is the third."""


def whose(words: Sequence[str]) -> None:
    """`VERB HOST:DISK ...`: prints `cdmi` for an object of a CDMI server, else `stock`. Raises `Failure`."""
    verb, *rest = words
    at = VM_AT.get(verb, 2)
    if len(rest) <= at:
        raise Failure(f"{verb} has too few arguments", "see the transfer file of the VM")
    _, number = disk_place(rest[0])
    found = [disk for disk in show(vm_id(rest[at])).disks if disk.number == number]
    print("cdmi" if found and found[0].is_ours else "stock")
