"""An export where a LUN has none: whether the server announces that it can make one, and making it.

CDMI 1.1 clauses 12.1 (cdmi_export_<protocol>, and the older cdmi_<protocol>_export) and 12.1.5 (per container), 2.0
clause 12.2. An export is made open to nobody. No version says how one is removed: the field is written without it.
"""

import json
from collections.abc import Mapping
from typing import Any

from agent.cdmi.answers import refused
from agent.cdmi.capable import ROOT, capabilities, flag, place_of
from agent.cdmi.copies import entries_of
from agent.cdmi.exports import protocol_of
from agent.cdmi.find import find
from agent.cdmi.grants import writable
from agent.cdmi.members import CONTAINER, Found, kind_of, object_id_of, size_of
from agent.cdmi.sources import Location
from agent.cdmi.wire import Wire

KEYS = {"iscsi": "Network/iSCSI", "fc": "Network/FC"}
TYPES = {"iscsi": "iSCSI", "fc": "FC"}


async def offers(wire: Wire, location: Location) -> Mapping[str, str]:
    """The block protocols that a LUN may be exported over here, each with the key of an entry that is not there yet."""
    found = await find(wire, location)
    if kind_of(found.answer, found.members) != CONTAINER or size_of(found.members, CONTAINER) is None:
        return {}
    there = {protocol_of(key, entry) for key, entry in entries_of(found).items()}
    system = await capabilities(wire, Location(location.server, (ROOT,), True))
    mine = await capabilities(wire, place_of(found)) if system else {}
    return {
        protocol: _key(found, protocol)
        for protocol in KEYS
        if protocol not in there and _announced(system, mine, protocol)
    }


async def export(wire: Wire, location: Location, key: str, protocol: str) -> tuple[str, bool]:
    """Make an entry that lets nobody in yet. Returns its key, and whether it was made now. Raises `Problem`."""
    found = await find(wire, location)
    object_id_of(location, found.answer, found.members)
    if there := _of(found, protocol):
        return there, False
    entry: dict[str, Any] = {"permissions": []} | ({"type": TYPES[protocol]} if _is_typed(found) else {})
    await _write(wire, found, {**entries_of(found), key: entry})
    if made := _of(await find(wire, location), protocol):
        return made, True
    what = f"{found.url} got no export over {protocol}, although the server said that it can"
    raise refused(location.server, what, hint="export it on the server, or see its log")


async def _write(wire: Wire, found: Found, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """The whole field, since servers replace it as a whole; of each entry only what clients may write."""
    body = json.dumps({"exports": writable(entries)}).encode()
    (await wire.update(found.location.server, found.url, body, fields=("exports",))).check()


def _announced(system: Mapping[str, Any], mine: Mapping[str, Any], protocol: str) -> bool:
    """System-wide it has to be said; for the container it may be denied (1.1 clause 13.2: missing is true)."""
    names = (f"cdmi_export_{protocol}", f"cdmi_{protocol}_export")
    own = [flag(mine[name]) for name in (*names, f"cdmi_export_container_{protocol}") if name in mine]
    return any(flag(system.get(name)) for name in names) and (not own or any(own))


def _of(found: Found, protocol: str) -> str:
    """The key of the entry for that protocol; empty where there is none."""
    return next((key for key, entry in entries_of(found).items() if protocol_of(key, entry) == protocol), "")


def _is_typed(found: Found) -> bool:
    """Whether entries have a type, and any name: since 2.0."""
    return found.answer.spoken.startswith(("2.", "3."))


def _key(found: Found, protocol: str) -> str:
    """The key that a new entry gets."""
    if not _is_typed(found):
        return KEYS[protocol]
    there = entries_of(found)
    return next(name for name in map(str, range(1, len(there) + 2)) if name not in there)
