"""What a server announces to be able to do, system-wide and for one container (CDMI 1.1 and 2.0 clause 12)."""

from collections.abc import Awaitable, Mapping
from typing import Any

from agent.cdmi.answers import DONE, Answer, refused
from agent.cdmi.members import Found
from agent.cdmi.select import select
from agent.cdmi.sources import Location, names_of
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

ROOT = "cdmi_capabilities"
COPIES = "cdmi_copy_container"


async def capabilities(wire: Wire, place: Location | None) -> Mapping[str, Any]:
    """What is announced there; nothing where it cannot be read: then nothing is asked for."""
    answer = None if place is None else await _read(wire.get(place.server, place.url))
    found = answer.members().get("capabilities") if answer else None
    return found if isinstance(found, dict) else {}


async def _read(asked: Awaitable[Answer]) -> Answer | None:
    """The answer where it is an object's. Raises `Problem` cdmi-unreachable."""
    try:
        answer = await asked
    except Problem as problem:
        if problem.code is Code.CDMI_UNREACHABLE:
            raise
        return None
    return answer if answer.status in DONE and answer.is_object() else None


def place_of(found: Found) -> Location | None:
    """Where the container's own capabilities are, by its capabilitiesURI; None where that leads nowhere of theirs."""
    uri, server = found.members.get("capabilitiesURI"), found.location.server
    if not isinstance(uri, str):
        return None
    inner = uri.removeprefix(server.url).removeprefix(server.root).removeprefix("/")
    try:
        names = names_of(inner)
    except ValueError:
        return None
    return Location(server, names, True) if names[:1] == (ROOT,) else None


def flag(value: object) -> bool:
    """Whether a capability is said to be there: CDMI has texts, some servers say it in JSON's own way."""
    return value is True or str(value).casefold() == "true"


async def insist_on_copies(wire: Wire, into: Location) -> None:
    """Raises `Problem` cdmi-refused where a container's own capabilities say that none is copied into it.

    It is the parent of what is made, and not what is copied, that says so (1.1 clause 12.1.5, 2.0 clause 12.2). That it
    is not spoken of says nothing: many say little.
    """
    answer = await _read(select(wire, into.server, into.url, ("capabilitiesURI",)))
    mine = await capabilities(wire, place_of(Found(into, answer, answer.members()))) if answer else {}
    if COPIES in mine and not flag(mine[COPIES]):
        what = f"the server says that no containers are copied into {shown(into.url, 300)} (its {COPIES} is not true)"
        raise refused(into.server, what, hint="do it by the server's own means; nothing was asked for")
