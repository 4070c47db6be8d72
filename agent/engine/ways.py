"""Whether a plan uses all ways to its logical unit, as one multipath map, or one of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attachers import unit_names
from attachers.problems import Code, Problem
from attachers.sights import Ability

WAYS = ("portals", "targets")
"""The members of a plan that list ways: iSCSI portals, Fibre Channel target ports."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`multipath`: the map of all paths. `note` says why not, where a caller may have expected it."""

    multipath: bool
    note: str = ""


def ways_of(plan: Mapping[str, Any]) -> int:
    """How many ways a plan names."""
    return max((len(plan[key]) for key in WAYS if key in plan), default=1)


def choose_ways(
    plan: Mapping[str, Any], setting: str, multipath: Ability, *, min_paths: int, trust_local: bool = False
) -> Choice:
    """Several paths, where that is possible and wanted: `setting` is `multipath` in [attach] (auto, always, never).

    `trust_local`: a locally assigned name is as good as any.
    Raises `Problem` where it has to be and cannot be, or where more paths are asked for than there can be.
    """
    ways = ways_of(plan)
    block = any(key in plan for key in WAYS)
    why_not = "" if multipath.available else multipath.reason
    if not why_not and plan.get("wwid") is None:
        why_not = "the export names no logical unit, and paths are known by that"
    if not why_not and not trust_local and unit_names.is_local(plan.get("wwid")):
        why_not = "the unit's name is locally assigned (NAA 3), and paths of another unit may have it, too"
    wanted = block and (setting == "always" or (setting == "auto" and ways > 1))
    if setting == "always" and block and why_not:
        hint = 'mend that, or set multipath = "auto" in [attach]'
        raise Problem(Code.UNSUPPORTED_ON_HOST, f"multipath = always: {why_not}", hint=hint)
    choice = Choice(wanted and not why_not, f"one path of {ways}: {why_not}" if wanted and why_not else "")
    if min_paths > (ways if choice.multipath else 1):
        raise _too_many(min_paths, ways, why_not or ("multipath = never" if setting == "never" else ""))
    return choice


def _too_many(min_paths: int, ways: int, why: str) -> Problem:
    text = f"min_paths: {min_paths} are asked for, and the export names {ways} {'ways' if ways > 1 else 'way'}"
    hint = "ask for fewer" if not why else "ask for one, or mend what keeps this host from several"
    return Problem(Code.UNSUPPORTED_ON_HOST, f"{text}; {why}" if why else text, hint=hint)
