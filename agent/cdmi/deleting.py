"""Deleting what was named: that very object, or that very reference; done when it is seen to be gone.

CDMI 1.1 and 2.0 clauses 8.8 and 9.6: DELETE of a reference deletes the reference alone, so that it is never followed.
No answer says that something is gone: 202 says that it is not done yet (RFC 9110 clause 15.3.3), and servers answer 204
to what they have only taken note of. So it is looked for where it was named until it is not there any more.
"""

from collections.abc import Awaitable, Callable

from agent.cdmi.answers import Answer, DanglingError, refused
from agent.cdmi.find import find
from agent.cdmi.members import CONTAINER, Found, kind_of, size_of
from agent.cdmi.named import itself, not_done, reference_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.transfer import FIRST_PAUSE_S, LONGEST_PAUSE_S, TRIES, Pause
from agent.cdmi.wire import REDIRECTS, Wire
from attachers.problems import Code, Problem

NOT_BY_ID = (404, 405, 501)
"""What servers answer to a DELETE by an ID that they read by, but do not delete by (cdmi.md 6b)."""


async def delete(
    wire: Wire, location: Location, *, pause: Pause, object_id: str = "", reference: bool | None = None
) -> None:
    """Delete what is there; that there is nothing is success. `object_id` and `reference` say what the caller has seen.

    Returns when it is seen to be gone, which is waited for for about a minute, with `pause`.
    Raises `Problem`: conflict, when others are in it, or it is not what was seen; cdmi-refused, when it is still there.
    """
    try:
        found = await find(wire, location)
    except DanglingError as dangling:
        return await _delete_dangling(wire, location, dangling, pause)
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
    if not await _comes_true(lambda: _is_gone(wire, found), pause):
        raise _still_there(found.location, _named(found), answer)
    await _see_target(wire, found)


async def _ask(wire: Wire, found: Found) -> Answer:
    """At the address that was named; only from an ID to the path that the server itself has led to."""
    server = found.location.server
    answer = await wire.delete(server, found.named)
    onward = found.named != found.url and not reference_of(found)
    if onward and answer.status in (*NOT_BY_ID, *REDIRECTS):
        answer = await wire.delete(server, found.url)
    return answer if answer.status == 404 else answer.check()


async def _comes_true(look: Callable[[], Awaitable[bool]], pause: Pause) -> bool:
    """Whether what is looked for comes, within about a minute."""
    pause_s = FIRST_PAUSE_S
    for _ in range(TRIES):
        if await look():
            return True
        await pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return await look()


async def _is_gone(wire: Wire, before: Found) -> bool:
    """Whether what was named is there no more; another that came meanwhile is not that one.

    Raises `Problem` cdmi-refused where what a reference led to is gone, and the reference is not.
    """
    try:
        now = await find(wire, before.location)
    except DanglingError:
        if not reference_of(before):
            return True
        what = f"{shown(before.named, 300)} was to be deleted, a reference, and what it led to is gone instead"
        raise not_done(before, what) from None
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return True
        raise
    ids = [str(one.members.get("objectID") or "").casefold() for one in (before, now)]
    return (all(ids) and ids[0] != ids[1]) or reference_of(now) != reference_of(before)


def _named(found: Found) -> str:
    """What was named, and which object that is, unless it is a reference."""
    object_id = found.members.get("objectID")
    told = f" ({shown(object_id, 80)})" if isinstance(object_id, str) and not reference_of(found) else ""
    return f"{shown(found.named, 300)}{told}"


def _still_there(location: Location, named: str, answer: Answer) -> Problem:
    """A DELETE that was answered with success, or with 404, and that nothing came of in time."""
    later = answer.status == 202
    what = f"{named} is still there after a DELETE ({answer.status}{', accepted, and not done' if later else ''})"
    hint = (
        "repeat the request later: when it is gone by then, that is success" if later else "see the CDMI server's log"
    )
    return refused(location.server, what, hint=hint)


async def _see_target(wire: Wire, before: Found) -> None:
    """What a reference led to has to be there when it is gone."""
    if reference_of(before) and (await wire.get(before.location.server, before.url)).status == 404:
        what = f"{shown(before.named, 300)} was deleted, a reference, and what it led to went with it: {before.url}"
        raise not_done(before, what)


async def _delete_dangling(wire: Wire, location: Location, dangling: DanglingError, pause: Pause) -> None:
    answer = await wire.delete(location.server, dangling.named)
    if answer.status != 404:
        answer.check()
    if not await _comes_true(lambda: _leads_nowhere_no_more(wire, location, dangling), pause):
        raise _still_there(location, shown(dangling.named, 300), answer)


async def _leads_nowhere_no_more(wire: Wire, location: Location, dangling: DanglingError) -> bool:
    """Whether that reference to nothing is gone; where it leads to something by now, it is there."""
    try:
        now = await find(wire, location)
    except DanglingError as other:
        return other.named != dangling.named
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return True
        raise
    return reference_of(now) != dangling.named


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
