"""This host's place in the `permissions` of one export entry; of an NFS entry, in its lists of hosts.

CDMI has no ETag and no conditional write, and a write replaces the list: two hosts that write at the same moment can
lose each other's change, or bring back a name that its host has just taken out. What helps is time, as in Fischer's
mutual exclusion:
- nothing is written that is based on an old read: one that was long in coming is made again;
- a change counts once it has been seen at once and again after `settle_s`, when every write that was based on what was
  there before it has come as well; who finds its change undone makes it again.
Where nobody else is named and nothing was undone, both looks are made at once: the usual case costs no wait. This
closes the race between hosts that keep to it, as far as they are in time; a writer that is slower, or that keeps to
nothing, can still undo what we have seen, so a refused login is a reason to grant again.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent.cdmi import nfs_export, nfs_hosts
from agent.cdmi.answers import GONE, refused
from agent.cdmi.exports import names_in, path_of, protocol_of
from agent.cdmi.initiators import LEAVING, normal
from agent.cdmi.members import check_same
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

FIELDS = ("objectID", "exports")
TRIES = 12
READS = 3
"""How often a read is made again that was slow, before a server is taken to be so."""
SLOWER = 1.5
"""How many times as long as the quickest a read may take that is not slow."""
LONGEST_SETTLE_S = 2.0
SERVERS_OWN = frozenset(
    {
        "target_identifier",
        "logical_unit_number",
        "logical_unit_name",
        "portals",
        "target_wwpns",
        "active",
        "server_addresses",
        "last_problems",
        "state_determined_time",
    }
)
"""What only servers write: CDMI 1.1 clause 13.7, 2.0 clause 13.5, docs/cdmi-fc.md, and the draft of 3.0."""
Entries = Mapping[str, Mapping[str, Any]]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """Names of one host to be in (`present`) or out of the permissions of one entry of the object at `location`.

    Those of an NFS entry are "rw_hosts 10.0.0.1": see `nfs_hosts`.
    """

    location: Location
    key: str
    names: tuple[str, ...]
    present: bool

    def is_made(self, names: tuple[str, ...]) -> bool:
        """Whether the permissions are as wanted; spellings do not matter."""
        mine, there = _normal(self.names), _normal(names)
        return mine <= there if self.present else not mine & there

    def others(self, names: tuple[str, ...]) -> bool:
        """Whether anybody else is named: a host that may come and go at this moment."""
        return bool(_normal(names) - _normal(self.names))

    def applied(self, names: tuple[str, ...]) -> list[str]:
        """The permissions as wanted: all others stay, in their order."""
        if self.present:
            names = tuple(name for name in names if normal(name) not in LEAVING.values())  # who is let in stays
            return [*names, *(name for name in self.names if normal(name) not in _normal(names))]
        return [name for name in names if normal(name) not in _normal(self.names)]


async def make(wire: Wire, change: Change) -> None:
    """Read, write, read back, and again while another writer undoes it. Raises `Problem`."""
    written = False
    for _ in range(TRIES):
        before, took_s = await read_afresh(wire, change)
        names = names_there(change, before)
        if before is None or names is None or (change.is_made(names) and not written):
            return
        contested = written or change.others(names)
        if not change.is_made(names):
            began = _now()
            await _write(wire, change, before, names)
            took_s, written = max(took_s, _now() - began), True
        settle_s = min(max(wire.limits.settle_s, 2 * took_s), LONGEST_SETTLE_S)
        if await _stands(wire, change, before, contested=contested, settle_s=settle_s):
            return
        log.info("permissions of %s changed under us, again", change.location.url)
    raise refused(
        change.location.server,
        f"{path_of(change.key)}.permissions of {change.location.url} did not keep our change in {TRIES} tries",
        hint="another writer, or a server that ignores the change: see its log, then try again",
    )


def names_there(change: Change, entries: Entries | None) -> tuple[str, ...] | None:
    """The entry's permissions; None where nothing is to be done: anybody may, or what is to be revoked is gone."""
    entry = None if entries is None else entries.get(change.key)
    url = change.location.url
    if entry is None:
        if not change.present:
            return None
        what = url if entries is None else f"{path_of(change.key)} of {url}"
        raise Problem(Code.NOT_FOUND, f"{shown(what, 400)} is there no more", hint="resolve the source again")
    if protocol_of(change.key, entry) == nfs_export.PROTOCOL:
        return nfs_hosts.named(entry)
    found = entry.get("permissions")
    if found is None:
        return None
    names = names_in(found)
    if names is None:
        what = f"{path_of(change.key)}.permissions of {url} is not a list of names: {ascii(found)[:120]}"
        raise refused(change.location.server, what, hint="let the server's administrator correct it")
    return names


async def read_afresh(wire: Wire, change: Change) -> tuple[Entries | None, float]:
    """Read, and again where others are named and the answer was long in coming. Returns how long it took, too."""
    slow: list[float] = []
    while True:
        began = _now()
        entries = await read(wire, change.location)
        took_s = _now() - began
        names = names_there(change, entries)
        usual_s = max(wire.limits.settle_s / 2, SLOWER * min(slow, default=0.0))
        if names is None or not change.others(names) or took_s <= usual_s or len(slow) == READS - 1:
            return entries, took_s
        slow.append(took_s)


async def read(wire: Wire, location: Location) -> Entries | None:
    """The entries of `exports`; None where there is no such object."""
    answer = await select(wire, location.server, location.url, FIELDS, needed=("exports",))
    if answer.status in GONE:
        return None
    members = answer.members()
    check_same(location, members)
    found = members.get("exports")
    entries = found if isinstance(found, dict) else {}
    return {key: entry for key, entry in entries.items() if isinstance(entry, dict)}


def writable(entries: Entries) -> dict[str, dict[str, Any]]:
    """Of each entry what clients may write."""
    return {
        key: {name: value for name, value in entry.items() if name not in SERVERS_OWN} for key, entry in entries.items()
    }


async def _write(wire: Wire, change: Change, entries: Entries, names: tuple[str, ...]) -> None:
    """Write the field with every entry in it, since servers replace it as a whole; of each only what clients may."""
    wanted = writable(entries)
    wanted[change.key] = _with_names(change, wanted[change.key], change.applied(names))
    body = json.dumps({"exports": wanted}).encode()
    answer = await wire.update(change.location.server, change.location.url, body, fields=("exports",))
    if answer.status in GONE and not change.present:
        return
    answer.check()


def _with_names(change: Change, entry: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The entry as it is to be: of NFS the lists of hosts, of all others `permissions`."""
    if protocol_of(change.key, entry) == nfs_export.PROTOCOL:
        return nfs_hosts.with_named(entry, names)
    return {**entry, "permissions": names}


async def _stands(wire: Wire, change: Change, before: Entries, *, contested: bool, settle_s: float) -> bool:
    """Whether our change is there, and every entry that was there before: now, and when the others have settled."""
    for last in (False, True):
        if last and contested:
            await pass_by(settle_s)
        after = await read(wire, change.location)
        names = names_there(change, after)
        if after is None or names is None:
            return True
        _check_entries(change, before, after)
        if not change.is_made(names):
            return False
        contested = contested or change.others(names)
    return True


def _check_entries(change: Change, before: Entries, after: Entries) -> None:
    missing = sorted(before.keys() - after.keys())
    if missing:
        what = f"{path_of(missing[0])} of {change.location.url} is gone since its neighbour's permissions were written"
        raise refused(change.location.server, what, hint="make that export on the server again; is it a server's bug?")


def _normal(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(normal(name) for name in names)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def pass_by(seconds: float) -> None:
    """Let so much time go by: servers do not tell of writes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
