"""Finding the object that a source means, as a container or as a data object, on servers of every kind."""

from dataclasses import replace

from agent.cdmi.answers import DONE, GONE, NOT_THIS_WAY, Answer, DanglingError, TooLargeError
from agent.cdmi.members import CONTAINER, DATAOBJECT, Found
from agent.cdmi.select import select
from agent.cdmi.sources import Location, leads_elsewhere
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from attachers.problems import Code

FIELDS = (
    "objectType",
    "objectID",
    "objectName",
    "parentURI",
    "parentID",
    "completionStatus",
    "percentComplete",
    "metadata",
    "exports",
)


async def find(wire: Wire, location: Location) -> Found:
    """The object, also behind a reference. Raises `Problem`: not-found, cdmi-unreachable, cdmi-refused."""
    answer = await _ask(wire, location)
    if answer.status in GONE and answer.named and leads_elsewhere(location.server, answer.named, answer.url):
        raise _dangling(answer)
    return Found(location, answer, answer.members())


def _dangling(answer: Answer) -> DanglingError:
    named = answer.named.partition("?")[0]
    said = f"{answer.url} was answered with {answer.status}"
    what = f"{shown(named, 300)} is a reference, and what it leads to is not there ({said})"
    problem = DanglingError(Code.CDMI_REFUSED, what, hint="make what it refers to, or delete the reference")
    problem.named = named
    return problem


async def _ask(wire: Wire, location: Location) -> Answer:
    """The object as a container (what a LUN is), else as a data object, by its fields, lest its value come along.

    A value is also what some servers answer to a container's spelling of a data object; and where a container has so
    many children that it cannot be read as a whole, its fields can.
    """
    server = location.server
    try:
        answer = await wire.get(server, spelt(location, CONTAINER).url)
    except TooLargeError:
        return await select(wire, server, location.url, FIELDS)
    if answer.status in DONE:
        return answer if answer.is_object() else await select(wire, server, location.url, FIELDS)
    if location.slash or answer.status not in NOT_THIS_WAY:
        return answer
    return await select(wire, server, spelt(location, DATAOBJECT).url, FIELDS)


def spelt(location: Location, kind: str) -> Location:
    """The same place, with a slash at its end for a container."""
    return replace(location, slash=kind == CONTAINER)
