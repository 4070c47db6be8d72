"""Deleting what was named: that very object, or that very reference; done when it is seen to be gone.

CDMI 1.1 and 2.0 clauses 8.8 and 9.6: DELETE of a reference deletes the reference alone, so that it is never followed.
No answer says that something is gone: 202 says that it is not done yet (RFC 9110 clause 15.3.3), and servers answer 204
to what they have only taken note of. So it is looked for where it was named until it is not there any more. A look that
fails tells nothing meanwhile: servers answer 409 or 503 for what they are taking apart.
"""

import asyncio
from collections.abc import Awaitable, Callable

from agent.cdmi.answers import GONE, Answer, DanglingError, refused
from agent.cdmi.find import find
from agent.cdmi.members import CONTAINER, Found, kind_of, pending_of, size_of
from agent.cdmi.named import itself, not_done, reference_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.transfer import FIRST_PAUSE_S, LONGEST_PAUSE_S, TRIES, Pause
from agent.cdmi.wire import REDIRECTS, Wire
from attachers.problems import Code, Problem

NOT_BY_ID = (*GONE, 405, 501)
"""What servers answer to a DELETE by an ID that they read by, but do not delete by (cdmi.md 6b)."""
WITHIN_S = 60.0
"""How long it may take until it is gone; the last look begins by then."""
UNDER_WAY = 504
"""The status of the problem where a server has accepted it, and is not done: time has run out, and nothing else."""
SNAPSHOTS = "cdmi_snapshots"


async def delete(
    wire: Wire, location: Location, *, pause: Pause, object_id: str = "", reference: bool | None = None
) -> None:
    """Delete what is there; that there is nothing is success. `object_id` and `reference` say what the caller has seen.

    Returns when it is seen to be gone, which is waited for for about a minute, with `pause`.
    Raises `Problem`: conflict, when others are in it, or it is not what was seen; cdmi-refused, when it is still there
    (with the status `UNDER_WAY` after a 202); that of the last look, when that failed.
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
    await _see(lambda: _is_gone(wire, found), pause, _still_there(found.location, _named(found), answer))
    await _see_target(wire, found)


async def _ask(wire: Wire, found: Found) -> Answer:
    """At the address that was named; only from an ID to the path that the server itself has led to."""
    server = found.location.server
    answer = await wire.delete(server, found.named)
    onward = found.named != found.url and not reference_of(found)
    if onward and answer.status in (*NOT_BY_ID, *REDIRECTS):
        answer = await wire.delete(server, found.url)
    return answer if answer.status in GONE else answer.check()


async def _see(look: Callable[[], Awaitable[bool]], pause: Pause, still: Problem) -> None:
    """Wait for what is looked for. Raises `still` where it does not come in time, or what the last look has raised."""
    clock = asyncio.get_running_loop().time
    until, pause_s = clock() + WITHIN_S, FIRST_PAUSE_S
    for _ in range(TRIES):
        if not await _why_not(look, still):
            return
        if clock() >= until:
            break
        await pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    if why := await _why_not(look, still):
        raise why


async def _why_not(look: Callable[[], Awaitable[bool]], still: Problem) -> Problem | None:
    """None where it has come. What is under way is so, too, where it cannot be seen."""
    try:
        return None if await look() else still
    except Problem as problem:
        status = UNDER_WAY if still.status == UNDER_WAY else problem.status
        detail = f"what was to be deleted was not seen to be gone: {problem.detail}"
        return Problem(problem.code, detail, hint=problem.hint, status=status)


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
    another = ids[0] != ids[1] if all(ids) else bool(ids[0]) and _is_implied(now)
    return another or reference_of(now) != reference_of(before)


def _is_implied(now: Found) -> bool:
    """Whether it is but the folder of what is in it, as object stores have them, and no LUN that hides what it is."""
    children = now.members.get("children")
    names = {str(name).rstrip("/") for name in children} if isinstance(children, list) else set()
    folder = kind_of(now.answer, now.members) == CONTAINER and size_of(now.members, CONTAINER) is None
    return folder and not pending_of(now.members) and bool(names - {SNAPSHOTS})


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
    return refused(location.server, what, hint=hint, status=UNDER_WAY if later else None)


async def _see_target(wire: Wire, before: Found) -> None:
    """What a reference led to has to be there when it is gone."""
    if reference_of(before) and (await wire.get(before.location.server, before.url)).status in GONE:
        what = f"{shown(before.named, 300)} was deleted, a reference, and what it led to went with it: {before.url}"
        raise not_done(before, what)


async def _delete_dangling(wire: Wire, location: Location, dangling: DanglingError, pause: Pause) -> None:
    answer = await wire.delete(location.server, dangling.named)
    if answer.status not in GONE:
        answer.check()
    still = _still_there(location, shown(dangling.named, 300), answer)
    await _see(lambda: _leads_nowhere_no_more(wire, location, dangling), pause, still)


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
