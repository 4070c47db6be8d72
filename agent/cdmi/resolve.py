"""From a source to the object and its exports, explained."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.cdmi import networks, sources
from agent.cdmi.answers import NOT_THIS_WAY, Answer, refused
from agent.cdmi.exports import read_exports
from agent.cdmi.server import Server
from agent.cdmi.sources import OBJECT_ID, Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Resolved
from attachers.problems import Code, Problem

CONTAINER, DATAOBJECT = "container", "dataobject"
FIELDS = ("objectType", "objectID", "objectName", "parentURI", "completionStatus", "metadata", "exports")
MAX_NAME = 255
_SIZES = {CONTAINER: "cdmi_assignedsize", DATAOBJECT: "cdmi_size"}


async def resolve(
    wire: Wire, source: str, *, servers: Sequence[Server], protocols: Collection[str], resolver: networks.Resolver
) -> Resolved:
    """See `agent.model.Cdmi.resolve`."""
    location = sources.parse(source, servers)
    server = location.server
    answer = await _find(wire, location)
    members = answer.members()
    _check_complete(server, answer, members)
    kind = _kind(server, answer, members)
    object_id = _object_id(location, answer, members)
    size = _size(members, kind)
    exports = read_exports(await _exports(wire, answer, members, kind), protocols=protocols, size=size or 0)
    exports = await networks.pinned(exports, server, resolver=resolver, names_s=wire.limits.names_s)
    at = sources.by_id(server, object_id, slash=kind == CONTAINER) if object_id else _spelt(location, kind)
    name = _name(members) or shown(location.names[-1] if location.names else "/", MAX_NAME)
    return Resolved(server.url, at.url, object_id, name, kind, size, exports)


async def _find(wire: Wire, location: Location) -> Answer:
    """The object as a container (what a LUN is), else as a data object, by its fields, lest its value come along."""
    server = location.server
    answer = await wire.get(server, _spelt(location, CONTAINER).url)
    if location.slash or answer.status not in NOT_THIS_WAY:
        return answer
    url = _spelt(location, DATAOBJECT).url
    answer = await wire.get(server, url, fields=FIELDS)
    if answer.status in (400, 406):
        answer = await wire.get(server, url)
    return answer


def _spelt(location: Location, kind: str) -> Location:
    return replace(location, slash=kind == CONTAINER)


async def _exports(wire: Wire, answer: Answer, members: Mapping[str, Any], kind: str) -> object:
    """The field `exports`: of the whole object, or asked for by name where a container's answer lacks it."""
    if "exports" in members or kind == DATAOBJECT:
        return members.get("exports")
    alone = await wire.get(answer.server, answer.url, fields=("exports",))
    return None if alone.status in NOT_THIS_WAY else alone.members().get("exports")


def _check_complete(server: Server, answer: Answer, members: Mapping[str, Any]) -> None:
    status = members.get("completionStatus")
    if isinstance(status, str) and status.casefold().startswith("error"):
        hint = "delete the object on the server, and make it again"
        raise refused(server, f"the object at {answer.url} could not be made: {status}", hint=hint)


def _kind(server: Server, answer: Answer, members: Mapping[str, Any]) -> str:
    """Container or data object, by objectType (RFC 6208, and CDMI 1.0's own types); else by the URL's last slash."""
    by_url = CONTAINER if answer.url.partition("?")[0].endswith("/") else DATAOBJECT
    named = members.get("objectType")
    if not isinstance(named, str):
        return by_url
    name = named.casefold().removeprefix("application/").removeprefix("vnd.org.snia.")
    kinds = {"cdmi-container": CONTAINER, "cdmi-object": DATAOBJECT, "cdmi-dataobject": DATAOBJECT}
    dotted = name.replace("cdmi.", "cdmi-").removesuffix("+json")
    if dotted not in kinds:
        hint = "give a container or a data object as the source"
        raise refused(server, f"{answer.url} is a {named}, neither container nor data object", hint=hint)
    return kinds[dotted]


def _object_id(location: Location, answer: Answer, members: Mapping[str, Any]) -> str:
    """The object's ID, empty where it has none. What is asked for by ID has to say that it is just that object."""
    found = members.get("objectID")
    asked = location.object_id
    if found is None and asked is None:
        return ""
    if not isinstance(found, str) or not OBJECT_ID.fullmatch(found):
        raise refused(location.server, f"objectID of {answer.url}: {ascii(found)[:140]} is no ID", hint="see its log")
    if asked is not None and found.casefold() != asked.casefold():
        raise Problem(
            Code.CDMI_REFUSED,
            f"{location.server.url} was asked for the object {asked} and answered with {found}",
            hint="nothing was attached: find out why the server hands out another object",
        )
    return found


def _name(members: Mapping[str, Any]) -> str:
    name = members.get("objectName")
    return shown(name.rstrip("/"), MAX_NAME) if isinstance(name, str) else ""


def _size(members: Mapping[str, Any], kind: str) -> int | None:
    """Bytes: a LUN's from cdmi_assignedsize (a container's cdmi_size is what it takes), a data object's cdmi_size."""
    metadata = members.get("metadata")
    text = str(metadata.get(_SIZES[kind], "")) if isinstance(metadata, dict) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
