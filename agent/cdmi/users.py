"""Who may use an object on other hosts, and what would go with it: what its exports say, and those of what is in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.cdmi.answers import DONE, GONE, refused
from agent.cdmi.copies import SNAPSHOTS, entries_of
from agent.cdmi.exports import names_in, path_of, protocol_of
from agent.cdmi.find import find
from agent.cdmi.members import CONTAINER, Found, kind_of, object_id_of, size_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location, names_of
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.uses import Permitted, Users

MOST = 1000
"""How many containers in a container are looked at."""
LISTS = ("permissions", "rw_hosts", "ro_hosts", "root_hosts", "hosts")
"""What names hosts: of block exports, CDMI 1.1 clause 13.2; of NFS, 1.1 clause 13.4, 2.0 clause 13.3."""
USED_BY_HOSTS = ("iscsi", "fc", "nfs")
FIELDS = ("objectType", "objectID", "objectName", "parentURI", "metadata", "exports", "children", "snapshots")


async def users(wire: Wire, location: Location) -> Users:
    """See `agent.contract.Cdmi.users`."""
    found = await find(wire, location)
    object_id_of(location, found.answer, found.members)
    kind = kind_of(found.answer, found.members)
    members = await _more(wire, found) if kind == CONTAINER else found.members
    permitted, anybody = _permitted(found, members)
    below: tuple[tuple[Permitted, ...], str] = ((), "")
    if kind == CONTAINER and size_of(members, CONTAINER) is None:
        below = await _below(wire, found, members)
    snapshots = await _snapshots(wire, found, members) if kind == CONTAINER else ()
    return Users((*permitted, *below[0]), anybody, snapshots, below[1])


async def _more(wire: Wire, found: Found) -> Mapping[str, Any]:
    """The members, with those that some servers leave out unless they are asked for."""
    missing = tuple(name for name in ("exports", "children", "snapshots") if name not in found.members)
    if not missing:
        return found.members
    answer = await select(wire, found.location.server, found.url, missing)
    told = answer.members() if answer.status in DONE and answer.is_object() else {}
    return {**{name: value for name, value in told.items() if name in missing}, **found.members}


def _permitted(found: Found, members: Mapping[str, Any]) -> tuple[tuple[Permitted, ...], tuple[str, ...]]:
    """The hosts that each entry names, and the keys of those that are open to any. Raises `Problem` cdmi-refused."""
    named, anybody = [], []
    for key, entry in entries_of(Found(found.location, found.answer, members)).items():
        lists = {name: entry[name] for name in LISTS if entry.get(name) is not None}
        names = [name for field, value in lists.items() for name in _names(found, key, field, value)]
        if names:
            named.append(Permitted(found.url, shown(key, 256), tuple(dict.fromkeys(names))))
        if not lists and protocol_of(key, entry) in USED_BY_HOSTS:
            anybody.append(shown(key, 256))
    return tuple(named), tuple(anybody)


def _names(found: Found, key: str, field: str, value: object) -> tuple[str, ...]:
    names = names_in(value)
    if names is None:
        what = f"{path_of(key)}.{field} of {shown(found.url, 300)} is no list of names"
        raise refused(found.location.server, what, hint="let the server's administrator correct it")
    return tuple(shown(name, 256) for name in names)


async def _below(wire: Wire, top: Found, members: Mapping[str, Any]) -> tuple[tuple[Permitted, ...], str]:
    """Whom the exports of the containers in it name, however deep; and in words what could not be looked at."""
    permitted: list[Permitted] = []
    left, unread, seen = _containers(top, members), _unlisted(top, members), 0
    while left and not unread:
        place = left.pop()
        if (seen := seen + 1) > MOST:
            return tuple(permitted), f"more than {MOST} containers are in it"
        answer = await select(wire, place.server, place.url, FIELDS, needed=("children",))
        if answer.status in GONE:
            continue  # it has gone meanwhile
        if answer.status not in DONE or not answer.is_object():
            return tuple(permitted), f"{shown(place.url, 300)} in it was answered with {answer.status}"
        one = Found(place, answer, answer.members())
        permitted += _permitted(one, one.members)[0]
        if size_of(one.members, CONTAINER) is None:
            unread = _unlisted(one, one.members)
            left += _containers(one, one.members)
    return tuple(permitted), unread


def _unlisted(found: Found, members: Mapping[str, Any]) -> str:
    children = members.get("children")
    if isinstance(children, list) and all(isinstance(name, str) for name in children):
        return ""
    return f"{shown(found.url, 300)} does not say what is in it"


def _containers(found: Found, members: Mapping[str, Any]) -> list[Location]:
    """Those among the children; a name that breaks a rule of paths leads nowhere."""
    at = found.location
    return [Location(at.server, (*at.names, name), True) for name in _children(members) if name != SNAPSHOTS]


def _children(members: Mapping[str, Any]) -> list[str]:
    children = members.get("children")
    names = children if isinstance(children, list) else ()
    return [plain for name in names if isinstance(name, str) and name.endswith("/") and (plain := _plain(name))]


def _plain(name: str) -> str:
    try:
        (plain,) = names_of(name)
    except ValueError:
        return ""
    return plain


async def _snapshots(wire: Wire, found: Found, members: Mapping[str, Any]) -> tuple[str, ...]:
    """Their names: the field `snapshots` has their URIs; else what is in `cdmi_snapshots`, if there is one."""
    told = members.get("snapshots")
    if not isinstance(told, list):
        place = Location(found.location.server, (*found.location.names, SNAPSHOTS), True)
        answer = await select(wire, place.server, place.url, ("children",))
        told = answer.members().get("children") if answer.status in DONE and answer.is_object() else None
    return _last_names(told) if isinstance(told, list) else ()


def _last_names(uris: Sequence[object]) -> tuple[str, ...]:
    return tuple(shown(uri.rstrip("/").rpartition("/")[2], 255) for uri in uris if isinstance(uri, str))
