"""An export of ours taken away again, together with our own names in it, and only while nobody else is let in.

CDMI takes the whole field at once and has no condition for it, so what holds is time, as in `agent.cdmi.grants`: whom
the permissions name is seen by every other host, which then looks again after it has settled. So the export is not
taken while nobody is named in it: we are, or a name that no host has is put in first. When that has settled and nobody
else has come, the entry goes. A write that took so long that somebody may have been let in meanwhile, and has
looked twice, is undone: the entry is put back, open to nobody, and a host whose login is refused gets in again.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from agent.cdmi.answers import refused
from agent.cdmi.exports import path_of, protocol_of
from agent.cdmi.grants import Change, Entries, make, names_there, pass_by, read, read_afresh, writable
from agent.cdmi.initiators import LEAVING
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire

log = logging.getLogger(__name__)
TRIES = 4
SLOWER = 1.5
"""How many times as long as a usual one a write may take that nobody has been let in beside."""


async def unexport(wire: Wire, location: Location, key: str, names: tuple[str, ...] = ()) -> None:
    """Take `names` out of an entry, and the entry away unless others are let in. What is gone already is fine.

    Raises `Problem`; cdmi-refused where the server does not take it away.
    """
    ours = Change(location, key, (*names, *LEAVING.values()), present=False)
    for _ in range(TRIES):
        before, _ = await read_afresh(wire, ours)
        there = names_there(ours, before)
        if before is None or there is None:
            return
        if ours.others(there):
            return await make(wire, ours)
        usual_s = await _announce(wire, ours, before, there)
        alone = await _alone(wire, ours, max(wire.limits.settle_s, 2 * usual_s))
        if alone is None:
            continue
        took_s = await _write(wire, location, {name: entry for name, entry in alone.items() if name != key})
        if took_s > max(wire.limits.settle_s, SLOWER * usual_s):
            log.warning("%s of %s may have let somebody in while it was removed: it is put back", key, location.url)
            return await _put_back(wire, ours, alone[key])
        if await _is_gone(wire, ours, max(wire.limits.settle_s, 2 * took_s)):
            return
    await make(wire, ours)
    what = f"{path_of(key)} of {shown(location.url, 300)} is still there after it was removed"
    raise refused(location.server, what, hint="remove it on the server")


async def _announce(wire: Wire, ours: Change, before: Entries, there: tuple[str, ...]) -> float:
    """Have somebody named in it, so that whoever comes is careful. Returns the seconds that a write takes."""
    entry = before[ours.key]
    named = there or (LEAVING[protocol_of(ours.key, entry)],)
    return await _write(wire, ours.location, {**before, ours.key: {**entry, "permissions": list(named)}})


async def _alone(wire: Wire, ours: Change, settle_s: float) -> Entries | None:
    """The entries, once all has settled; None where another has come, or what was announced is not there."""
    await pass_by(settle_s)
    now, _ = await read_afresh(wire, ours)
    there = names_there(ours, now)
    return now if now is not None and there and not ours.others(there) else None


async def _is_gone(wire: Wire, ours: Change, settle_s: float) -> bool:
    """Whether it is gone, now and when all has settled: an older write may bring it back."""
    for wait_s in (0.0, settle_s):
        await pass_by(wait_s)
        now = await read(wire, ours.location)
        if now is not None and ours.key in now:
            return False
    return True


async def _put_back(wire: Wire, ours: Change, entry: Mapping[str, Any]) -> None:
    """As it was, open to nobody; not where it is again already."""
    now = await read(wire, ours.location)
    if now is not None and ours.key not in now:
        await _write(wire, ours.location, {**now, ours.key: {**entry, "permissions": []}})


async def _write(wire: Wire, location: Location, entries: Entries) -> float:
    """The whole field, since servers replace it as a whole; of each entry only what clients may. Returns seconds."""
    began = asyncio.get_running_loop().time()
    body = json.dumps({"exports": writable(entries)}).encode()
    (await wire.update(location.server, location.url, body, fields=("exports",))).check()
    return asyncio.get_running_loop().time() - began
