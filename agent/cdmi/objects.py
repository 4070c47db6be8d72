"""What is done with objects on a server: look at one, change its metadata."""

import json
import re
from collections.abc import Mapping

from agent.cdmi import digests
from agent.cdmi.above import places
from agent.cdmi.answers import refused
from agent.cdmi.find import find
from agent.cdmi.formats import HEAD_BYTES, format_of
from agent.cdmi.members import (
    DATAOBJECT,
    Members,
    check_complete,
    kind_of,
    name_of,
    object_id_of,
    pending_of,
    size_of,
)
from agent.cdmi.named import itself, own_url, reference_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Stat

MAX_ITEMS = 256
TIMES = {"created": "cdmi_ctime", "modified": "cdmi_mtime", "accessed": "cdmi_atime"}
MADE_BY_SERVERS = frozenset(
    {"cdmi_size", "cdmi_ctime", "cdmi_atime", "cdmi_mtime", "cdmi_acount", "cdmi_mcount", "cdmi_hash"}
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-]\d\d:?\d\d)?", re.ASCII)


async def stat(wire: Wire, location: Location) -> Stat:
    """What the object is, with a look at the first bytes of a data object. Raises `Problem`."""
    found = await find(wire, location)
    check_complete(found.answer, found.members)
    kind = kind_of(found.answer, found.members)
    object_id = object_id_of(location, found.answer, found.members)
    server = location.server
    reference = reference_of(found)
    at = own_url(found, kind, object_id)
    metadata = metadata_of(found.members)
    head = await wire.head(server, found.url, HEAD_BYTES) if kind == DATAOBJECT else None
    return Stat(
        server=server.url,
        uri=at,
        object_id=object_id,
        name=name_of(found.members) or (shown(location.names[-1]) if location.names else "/"),
        kind=kind,
        size=size_of(found.members, kind),
        format=None if head is None else format_of(head),
        hash=digests.told(metadata),
        times={name: _time(metadata.get(key)) for name, key in TIMES.items()},
        metadata={name: shown(value, 1024) for name, value in metadata.items()},
        places=places(found),
        reference=reference,
        pending=pending_of(found.members),
    )


async def change(wire: Wire, location: Location, changes: Mapping[str, str | None]) -> None:
    """Set items of an object's metadata, or (None) take them away; all others stay. Read back. Raises `Problem`.

    The whole metadata is sent with the names of the changed items as the selection: a server that knows the selection
    changes just those, and one that does not replaces all of it by the same.
    """
    found = await find(wire, location)
    itself(found, "uri")
    given = found.members.get("metadata")
    there = given if isinstance(given, dict) else {}
    kept = {name: value for name, value in there.items() if name not in MADE_BY_SERVERS}
    wanted = {name: value for name, value in (kept | dict(changes)).items() if value is not None}
    fields = tuple(f"metadata:{name}" for name in changes)
    body = json.dumps({"metadata": wanted}).encode()
    (await wire.update(location.server, found.url, body, fields=fields)).check()
    after = await select(wire, location.server, found.url, ("metadata",), needed=("metadata",))
    now = after.members().get("metadata")
    lost = [name for name, value in changes.items() if not isinstance(now, dict) or now.get(name) != value]
    if lost:
        what = f"metadata.{lost[0]} of {found.url} is not what was written"
        raise refused(location.server, what, hint="the server changes or ignores it: see its log")


def metadata_of(members: Members) -> dict[str, str]:
    """The items that are texts or numbers, by printable names."""
    given = members.get("metadata")
    items = given.items() if isinstance(given, dict) else ()
    plain = {name: str(value) for name, value in items if name.isprintable() and isinstance(value, str | int | float)}
    return dict(list(plain.items())[:MAX_ITEMS])


def _time(text: str | None) -> str | None:
    """A time as RFC 3339 has it; CDMI's are UTC, also where a server leaves that out. None where it is no time."""
    match = _TIME.fullmatch(text or "")
    return f"{match[1]}T{match[2]}{match[3] or 'Z'}" if match else None
