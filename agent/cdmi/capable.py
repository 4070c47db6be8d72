"""What a server announces to be able to do, system-wide and for one container (CDMI 1.1 and 2.0 clause 12)."""

from collections.abc import Mapping
from typing import Any

from agent.cdmi.answers import DONE
from agent.cdmi.members import Found
from agent.cdmi.sources import Location, names_of
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

ROOT = "cdmi_capabilities"


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
