"""By which name a logical unit goes on this host, and what that name is worth. Pure."""

from attachers import unit_names
from attachers.base import Context, Decision, Fail, Keep
from attachers.problems import Code, Problem
from attachers.sights import ScsiSight


def by_main_name(text: str, wwid: str | None, sight: ScsiSight, context: Context) -> Decision | None:
    """What is next because the unit has a better name than the export's `wwid`, before anything is made.

    All that leads to it goes by that one, as udev and multipath do (attach.md, case 86): it is in the plan from then
    on, as `main`. `text` names the unit in sentences. What was handed out keeps the name that it has.
    """
    if sight.main is None or context.wwid is not None or unit_names.is_local(wwid):
        return None
    taken = is_taken(text, wwid, sight.main, context)
    return Fail(taken) if taken else Keep({"main": sight.main})


def is_taken(text: str, wwid: str | None, name: str, context: Context) -> Problem | None:
    """Why a unit that has another name than the export's may not be handed out: it is another attachment's already."""
    if f"wwid:{name}" not in context.needed or f"wwid:{wwid}" in context.needed or context.wwid == name:
        return None
    named = f"named {wwid}" if wwid else "without a name"
    said = f"{text}, {named} in its export, is {name}, which is attached here for another object"
    return Problem(Code.CONFLICT, said, hint="detach that one; if these are two objects, correct the server's exports")


def is_proof(wwid: str | None, context: Context) -> bool:
    """Whether a name tells a unit from every other one."""
    return wwid is not None and (context.trust_local or not unit_names.is_local(wwid))
