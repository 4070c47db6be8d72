"""Deleting what was named: that very object, or that very reference; done when it is seen to be gone.

CDMI 1.1 and 2.0 clauses 8.8 and 9.6: DELETE of a reference deletes the reference alone, so that it is never followed.
"""

from agent.cdmi.answers import Answer, DanglingError
from agent.cdmi.find import find
from agent.cdmi.members import CONTAINER, Found, kind_of, size_of
from agent.cdmi.named import itself, not_done, reference_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import REDIRECTS, Wire
from attachers.problems import Code, Problem

NOT_BY_ID = (404, 405, 501)
"""What servers answer to a DELETE by an ID that they read by, but do not delete by (cdmi.md 6b)."""


async def delete(wire: Wire, location: Location, *, object_id: str = "", reference: bool | None = None) -> None:
    """Delete what is there; that there is nothing is success. `object_id` and `reference` say what the caller has seen.

    Raises `Problem`: conflict, when others are in it, or it is not what was seen; cdmi-refused, when it is still there.
    """
    try:
        found = await find(wire, location)
    except DanglingError as dangling:
        return await _delete_dangling(wire, location, dangling)
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return
        raise
    if reference not in (None, bool(reference_of(found))):
        what = f"uri: {shown(found.named, 300)} was a reference, or is one by now"
        raise Problem(Code.CONFLICT, what, hint="look at it again, then repeat the request")
    if not reference_of(found):
        itself(found, "uri", object_id)
        if kind_of(found.answer, found.members) == CONTAINER:
            await _refuse_children(wire, found)
    answer = await _ask(wire, found)
    if answer.status != 202:  # then it takes its time
        await _see_it_gone(wire, found, answer)


async def _ask(wire: Wire, found: Found) -> Answer:
    """At the address that was named; only from an ID to the path that the server itself has led to."""
    server = found.location.server
    answer = await wire.delete(server, found.named)
    onward = found.named != found.url and not reference_of(found)
    if onward and answer.status in (*NOT_BY_ID, *REDIRECTS):
        answer = await wire.delete(server, found.url)
    return answer if answer.status == 404 else answer.check()


async def _see_it_gone(wire: Wire, before: Found, answer: Answer) -> None:
    """Raises `Problem` cdmi-refused where what was named is there as before; another that came meanwhile is not."""
    try:
        now = await find(wire, before.location)
    except DanglingError:
        if not reference_of(before):
            return
        what = f"{shown(before.named, 300)} was to be deleted, a reference, and what it led to is gone instead"
        raise not_done(before, what) from None
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return await _see_target(wire, before)
        raise
    same = now.members.get("objectID") == before.members.get("objectID") and reference_of(now) == reference_of(before)
    if same:
        raise not_done(before, f"{shown(before.named, 300)} is still there after a DELETE ({answer.status})")
    await _see_target(wire, before)


async def _see_target(wire: Wire, before: Found) -> None:
    """What a reference led to has to be there when it is gone."""
    if reference_of(before) and (await wire.get(before.location.server, before.url)).status == 404:
        what = f"{shown(before.named, 300)} was deleted, a reference, and what it led to went with it: {before.url}"
        raise not_done(before, what)


async def _delete_dangling(wire: Wire, location: Location, dangling: DanglingError) -> None:
    answer = await wire.delete(location.server, dangling.named)
    if answer.status != 404:
        answer.check()


async def _refuse_children(wire: Wire, found: Found) -> None:
    """CDMI deletes a container with all that is in it: so one is deleted only when it says that nothing is."""
    members = found.members
    if "children" not in members:
        members = (await select(wire, found.location.server, found.url, ("children",))).members()
    children = members.get("children")
    if children or (children is None and size_of(found.members, CONTAINER) is None):
        count = f"{len(children)} objects" if isinstance(children, list | dict) else "perhaps others"
        what = f"{shown(found.url, 300)} has {count} in it, which would be deleted with it"
        raise Problem(Code.CONFLICT, what, hint="delete these first")
