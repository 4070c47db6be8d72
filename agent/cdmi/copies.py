"""Copies and snapshots that the server makes: begun here, looked after by who asked, and given exports at their end.

CDMI 1.1 clauses 8.2, 9.2, 9.4 and 14; 2.0 clauses 8.2, 9.2, 9.5: a copy takes its time after a 202, may not be seen for
a while, and when it fails an object with an error is left, which the client has to delete. A PUT on something that is
there would replace it, so nothing is begun before it has been seen that nothing is.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from agent.cdmi.answers import Answer, refused
from agent.cdmi.capable import insist_on_copies
from agent.cdmi.exports import protocol_of
from agent.cdmi.find import find, spelt
from agent.cdmi.members import CONTAINER, Found, kind_of, object_id_of, pending_of, size_of
from agent.cdmi.named import itself
from agent.cdmi.objects import MADE_BY_SERVERS
from agent.cdmi.sources import BY_ID, OBJECT_ID, Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Making, MakingState
from attachers.problems import Code, Problem

SNAPSHOTS = "cdmi_snapshots"
BLOCK = ("iscsi", "fc")
MARK = "cdmi-attach-operation"
"""The metadata by which what a request of ours has made is told from what others put at the same place."""
NO_METADATA = (400, 403)
"""What servers may answer where they take no metadata with a copy, or not that of its source."""


async def copy(
    wire: Wire, source: Location, destination: Location, *, size: int | None, metadata: Mapping[str, str], mark: str
) -> str:
    """Begin a copy at a place where nothing is; `size` is in bytes, None: the source's. Raises `Problem`.

    `metadata` are items that it has beside, or instead of, those of its source, from its first moment on; so is `mark`,
    where the server takes any with a copy. Returns the ID that the answer names; empty where it names none.
    """
    if source.server != destination.server:
        what = f"destination: {destination.server.url} cannot copy from {source.server.url}"
        raise Problem(Code.INVALID_REQUEST, what, hint="copy within one server")
    check_new(destination, "destination")
    found = await find(wire, source)
    object_id_of(source, found.answer, found.members)
    if pending := pending_of(found.members):
        raise Problem(Code.BUSY, f"source: {pending}", hint="wait until the server has made it")
    kind = kind_of(found.answer, found.members)
    if kind == CONTAINER:
        above = Location(destination.server, destination.names[:-1], True)
        await insist_on_copies(wire, above)  # one that passes `copy` over makes an empty LUN of the very size
    grown = {} if size is None else _resized(found, kind, size)
    items = _kept(found) | grown | dict(metadata)
    plain = {"metadata": items} if grown or metadata else {}
    full = {"metadata": marked(items, mark)} if "metadata" in found.members and mark else plain
    to = spelt(destination, kind)
    answer = await _ask(wire, to, found, full)
    if answer.status in NO_METADATA and full != plain and await _is_free(wire, destination):
        answer = await _ask(wire, to, found, plain)
    return id_made(answer.check())


async def _ask(wire: Wire, to: Location, found: Found, more: Mapping[str, Any]) -> Answer:
    """Ask for it, in one spelling of its source after the other as long as the server knows none."""
    for uri in spellings(found):
        answer = await wire.create(to.server, to.url, json.dumps({"copy": uri, **more}).encode())
        if answer.status not in (400, 404):
            break
    return answer


def marked(metadata: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """The metadata with the mark of who asks, in the place of any that was there before."""
    return {**metadata, MARK: mark}


async def _is_free(wire: Wire, destination: Location) -> bool:
    return (await look(wire, destination)).state is MakingState.MISSING


def _mark_of(found: Found) -> str:
    metadata = found.members.get("metadata")
    told = metadata.get(MARK) if isinstance(metadata, dict) else None
    return told if isinstance(told, str) else ""


def id_made(answer: Answer) -> str:
    """The ID of what was made, by the very answer (1.1 clauses 8.2.6, 9.2.6): in its body, or where it leads to."""
    told = answer.found.get("objectID") if isinstance(answer.found, dict) else None
    if not isinstance(told, str):
        parts = urlsplit(answer.onward).path.rstrip("/").split("/")
        told = unquote(parts[-1]) if parts[-2:-1] == [BY_ID] else ""
    return told if OBJECT_ID.fullmatch(told) else ""


def check_new(place: Location, field: str) -> None:
    """Raises `Problem` where no new object can be: by an ID, which servers give, or at the root."""
    if place.names[:1] == (BY_ID,) or not place.names:
        what = f"{field}: a new object needs a path"
        raise Problem(Code.INVALID_REQUEST, what, hint="give a path that ends in its name")


def spellings(found: Found) -> tuple[str, ...]:
    """A source as servers may want it: relative to the root, with the root's own path, as a whole URL."""
    server, url = found.location.server, found.url
    inner = url[len(server.url) :]
    relative = inner if found.answer.spoken.startswith(("2.", "3.")) else f"/{inner}"
    return tuple(dict.fromkeys([relative, f"{server.root}{inner}", url]))


def _kept(found: Found) -> dict[str, Any]:
    """The source's metadata: what is sent replaces all of it."""
    there = found.members.get("metadata")
    items = there.items() if isinstance(there, dict) else ()
    return {name: value for name, value in items if name not in MADE_BY_SERVERS}


def _resized(found: Found, kind: str, size: int) -> dict[str, Any]:
    """The item that is another size; a data object has none, and grows once it is there."""
    had = size_of(found.members, kind)
    if had is None:
        what = "size: only a copy of a LUN, or of a data object that tells its size, can be larger than its source"
        raise Problem(Code.INVALID_REQUEST, what, hint="leave size out")
    if size < had:
        raise Problem(Code.INVALID_REQUEST, f"size: {size} is less than the source's {had} bytes", hint="give more")
    return {"cdmi_assignedsize": str(size)} if kind == CONTAINER else {}


def snapshot_place(source: Location, name: str) -> Location:
    """Where a snapshot of a container is."""
    return Location(source.server, (*source.names, SNAPSHOTS, name), True)


async def snapshot(wire: Wire, source: Location, name: str) -> None:
    """Begin a snapshot of a container; the server would replace one of that name. Raises `Problem`."""
    found = await find(wire, source)
    itself(found, "uri")
    if kind_of(found.answer, found.members) != CONTAINER:
        what = f"uri: {shown(found.url, 300)} is a data object, and CDMI takes snapshots of containers only"
        raise Problem(Code.INVALID_REQUEST, what, hint="clone it instead")
    body = json.dumps({"snapshot": name}).encode()
    (await wire.update(source.server, found.url, body, fields=())).check()


async def look(wire: Wire, location: Location) -> Making:
    """How far the making of an object is. Raises `Problem`: cdmi-unreachable, cdmi-refused, conflict (a reference)."""
    try:
        found = await find(wire, location)
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return Making(MakingState.MISSING)
        raise
    object_id, mark = itself(found, "destination"), _mark_of(found)
    status = str(found.members.get("completionStatus", "Complete"))
    if status.casefold().startswith("error"):
        return Making(MakingState.FAILED, None, object_id, found.url, shown(status), mark)
    if pending_of(found.members):
        percent = str(found.members.get("percentComplete", found.members.get("percentageComplete", "")))
        done = int(percent) if percent.isascii() and percent.isdigit() and len(percent) < 4 else None
        return Making(MakingState.PROCESSING, done, object_id, found.url, mark=mark)
    return Making(MakingState.COMPLETE, 100, object_id, found.url, mark=mark)


async def export_like(wire: Wire, source: Location, destination: Location, object_id: str = "") -> None:
    """Give a copy (of that ID) the block exports that its source has, open to nobody yet: CDMI does not copy exports.

    Raises `Problem` cdmi-refused where the server makes none of it.
    """
    wanted = _block_entries(await find(wire, source))
    made = await find(wire, destination)
    itself(made, "destination", object_id)
    missing = {key: entry for key, entry in wanted.items() if key not in entries_of(made)}
    if not missing or kind_of(made.answer, made.members) != CONTAINER:
        return
    body = json.dumps({"exports": {**entries_of(made), **missing}}).encode()
    (await wire.update(destination.server, made.url, body, fields=("exports",))).check()
    after = entries_of(await find(wire, destination))
    if lost := sorted(missing.keys() - after.keys()):
        what = f"{made.url} got no export {ascii(lost[0])[:80]} like its source's"
        raise refused(destination.server, what, hint="let the server export it, or see its log")


def entries_of(found: Found) -> dict[str, Any]:
    """The entries of `exports`, by their keys; what is no entry is left out."""
    exports = found.members.get("exports")
    entries = exports.items() if isinstance(exports, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, dict)}


def _block_entries(found: Found) -> dict[str, Any]:
    """What a client may write of block exports: who is let in, and since 2.0 the type."""
    wanted: dict[str, Any] = {}
    for key, entry in entries_of(found).items():
        if protocol_of(key, entry) in BLOCK:
            wanted[key] = {"permissions": []} | ({"type": entry["type"]} if "type" in entry else {})
    return wanted
