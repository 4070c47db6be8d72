"""A copy that was a VM's disk is deleted: if its own note says that it is one. What is not ours stays, and is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from cdmi_one import commands
from cdmi_one.clones import Copy, found_in, is_ours
from cdmi_one.failure import one_line
from cdmi_one.hosts import through
from cdmi_one.remote import CONFLICT, RemoteFailure
from cdmi_one.settings import Settings

TRIES = 3
"""How often a copy is taken from under a CLONE that was cancelled and goes on, before it is said."""


def tell(vm: str, text: str) -> None:
    """A line for the VM's log, which is no failure. Nobody may hear it: oned closes the pipe of what it gives up."""
    with suppress(OSError):
        print(f"INFO: {vm} cdmi: {one_line(text)}", file=sys.stderr, flush=True)


def delete_copy(copy: Copy, host: str, vm: str, settings: Settings, release: Callable[[], None]) -> None:
    """Delete the copy through that host, or another. Raises `Failure`.

    `release` takes it from the host again: a CLONE that was cancelled may just have attached it.
    """
    for left in reversed(range(TRIES)):
        try:
            _delete(copy, host, vm, settings)
            return
        except RemoteFailure as failure:
            if failure.status != CONFLICT or not left:
                raise
        release()


def _delete(copy: Copy, host: str, vm: str, settings: Settings) -> None:
    looked = commands.tolerate_missing(commands.cdmi("stat", copy.place, "--json"))
    found = found_in(through(host, settings, [looked]))
    if found is None:
        return
    if not is_ours(found, copy):
        tell(vm, f"{copy.place} is not noted as the copy for {copy.name}: it stays; delete it by hand")
        return
    through(host, settings, [commands.delete(found.by_id(copy.place.server), "--with-snapshots")])
