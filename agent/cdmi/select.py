"""Reading some fields of an object, also from servers that do not know how: then the whole object is read."""

from agent.cdmi.answers import DONE, NOT_THIS_WAY, Answer
from agent.cdmi.server import Server
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem


async def select(
    wire: Wire, server: Server, url: str, fields: tuple[str, ...], *, needed: tuple[str, ...] = ()
) -> Answer:
    """The object's fields, or all of it where the selection is refused or one of the `needed` is left out.

    An optional field that the object does not have is left out as well, so the whole object may lack it, too. Where
    that cannot be read (a container of many children, say), what was selected stands. Any status; raises `Problem`.
    """
    some = await wire.get(server, url, fields=fields)
    if some.status in NOT_THIS_WAY:
        return await wire.get(server, url)
    if some.status not in DONE or not needed or all(name in some.members() for name in needed):
        return some
    try:
        whole = await wire.get(server, url)
    except Problem as problem:
        if problem.code is Code.CDMI_UNREACHABLE:
            raise
        return some
    return whole if whole.status in DONE else some
