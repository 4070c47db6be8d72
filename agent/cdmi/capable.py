"""What a server announces to be able to do, system-wide and for one container (CDMI 1.1 and 2.0 clause 12)."""

from collections.abc import Mapping
from typing import Any

from agent.cdmi.answers import DONE, refused
from agent.cdmi.members import Found
from agent.cdmi.sources import Location, names_of
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

ROOT = "cdmi_capabilities"
COPIES = "cdmi_copy_container"


async def capabilities(wire: Wire, place: Location | None) -> Mapping[str, Any]:
    """What is announced there; nothing where it cannot be read: then nothing is asked for."""
    if place is None:
        return {}
    try:
        answer = await wire.get(place.server, place.url)
    except Problem as problem:
        if problem.code is Code.CDMI_UNREACHABLE:
            raise
        return {}
    found = answer.members().get("capabilities") if answer.status in DONE and answer.is_object() else None
    return found if isinstance(found, dict) else {}


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


async def insist_on_copies(wire: Wire, found: Found) -> None:
    """Raises `Problem` cdmi-refused where the container's own capabilities say that nothing is copied there.

    1.1 clause 12.1.5, 2.0 clause 12.2. That it is not spoken of says nothing: many say little.
    """
    mine = await capabilities(wire, place_of(found))
    if COPIES in mine and not flag(mine[COPIES]):
        what = f"the server says that no containers are copied ({COPIES} of {shown(found.url, 300)} is not true)"
        raise refused(found.location.server, what, hint="do it by the server's own means; nothing was asked for")
