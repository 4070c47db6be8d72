"""From a data object up to the nearest container with a usable NFS export; the path below it is the file's.

In CDMI 1.x and 2.0 only containers have exports. What the server says on the way is not believed: the container found
is asked for the object at the path that was put together, and has to answer with the object that was asked for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from agent.cdmi.answers import DONE, GONE, Answer, refused
from agent.cdmi.members import CONTAINER, Found, check_complete, kind_of, object_id_of, parents, path_name
from agent.cdmi.place import Place
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Above, SeenExport
from attachers.problems import Code, Problem

MAX_CLIMB = 32
FIELDS = ("objectType", "objectID", "objectName", "parentURI", "parentID", "completionStatus", "exports")
CLOSED = (401, 403, *GONE)


@dataclass(slots=True)
class View:
    """What was seen on the way up, as far as `here` (a URL): every entry, and what came of each container.

    `passed` are the containers, from below.
    """

    here: str
    passed: list[Found] = field(default_factory=list)
    exports: list[SeenExport] = field(default_factory=list)
    above: list[Above] = field(default_factory=list)

    def say(self, uri: str, says: str) -> None:
        """Note what came of one container."""
        self.above.append(Above(shown(uri, 400), says))


Reader = Callable[[object, Place], Awaitable[tuple[SeenExport, ...]]]
"""From the value of `exports`, and where it stands, to its entries."""


async def climb(wire: Wire, start: Found, *, place: Place, read: Reader) -> View:
    """Every entry on the way up to the first usable NFS export, or to the root; and why it went no further.

    Raises `Problem` cdmi-unreachable.
    """
    view = View(start.url)
    try:
        await _climb(wire, start, view, place=place, read=read)
    except Problem as problem:
        if problem.code is not Code.CDMI_REFUSED:
            raise
        view.say(view.here, f"cannot be climbed from: {problem.detail}")
    return view


async def _climb(wire: Wire, start: Found, view: View, *, place: Place, read: Reader) -> None:
    here, been = start, {start.url}
    names: tuple[str, ...] = (path_name(start),)
    while places := parents(here):
        if not names[0]:
            return view.say(here.url, "has no objectName, so that the path to the object is not known")
        if len(been) > MAX_CLIMB:
            return view.say(here.url, f"is {MAX_CLIMB} containers above: nothing further up is looked at")
        location, answer = await _parent(wire, places)
        url = answer.url.partition("?")[0]
        if answer.status in CLOSED:
            return view.say(url, f"was answered with {answer.status}: nothing further up can be seen")
        if url in been:
            return view.say(url, "is above itself: its parentURI leads in a circle")
        been.add(url)
        here = _container(location, answer)
        view.here = here.url
        view.passed.append(here)
        entries = await read(here.members.get("exports"), replace(place, file="/".join(names), at=here.url))
        if any(entry.usable for entry in entries):
            return await _arrive(wire, view, start, here, names, entries)
        view.exports += entries
        view.say(here.url, _says(entries))
        names = (path_name(here), *names)
    if here is start:
        view.say(here.url, "names no parentURI, so that the container above it is not known")


async def _parent(wire: Wire, places: tuple[Location, ...]) -> tuple[Location, Answer]:
    """The first of the places where something is; else the last answer."""
    for location in places:
        answer = await select(wire, location.server, location.url, FIELDS, needed=("exports",))
        if answer.status not in GONE:
            break
    return location, answer


def _container(location: Location, answer: Answer) -> Found:
    """What was answered as a container. Raises `Problem` cdmi-refused where it is none."""
    found = Found(location, answer, answer.members())
    check_complete(answer, found.members)
    if kind_of(answer, found.members) != CONTAINER:
        hint = "let the server's administrator correct the parentURI of what is below it"
        raise refused(answer.server, f"{found.url} is named as a container, and is none", hint=hint)
    object_id_of(location, answer, found.members)
    return found


async def _arrive(
    wire: Wire, view: View, start: Found, here: Found, names: tuple[str, ...], entries: tuple[SeenExport, ...]
) -> None:
    """Note the container found; its entries are usable only if the object really is at the path below it."""
    if why := await _astray(wire, start, here, names):
        entries = tuple(_distrusted(one, why) if one.usable else one for one in entries)
    view.exports += entries
    view.say(here.url, why or "is the nearest container with a usable NFS export")


def _distrusted(entry: SeenExport, why: str) -> SeenExport:
    hint = "let the server's administrator correct objectName and parentURI of the object and of what is above it"
    return replace(entry, usable=False, reason=why, plan=None, hint=hint, notes=())


async def _astray(wire: Wire, start: Found, here: Found, names: tuple[str, ...]) -> str:
    """Why what is at this path below the container is not the object that was asked for; empty when it is."""
    server = start.location.server
    at = Location(server, (*here.location.names, *names), False)
    if at.url == start.url:
        return ""
    path = shown("/".join(names), 200)
    wanted = start.members.get("objectID")
    if not isinstance(wanted, str):
        return f"the object has no objectID, and was found at {shown(start.url, 200)}, not at {path} below it"
    answer = await select(wire, server, at.url, ("objectID",))
    found = answer.members().get("objectID") if answer.status in DONE else f"status {answer.status}"
    if isinstance(found, str) and found.casefold() == wanted.casefold():
        return ""
    return f"the object {wanted} is not at {path} below it: the server answers {ascii(found)[:140]} there"


def _says(entries: tuple[SeenExport, ...]) -> str:
    return "has no NFS export that can be used" if entries else "has no exports (or its ACL hides them)"
