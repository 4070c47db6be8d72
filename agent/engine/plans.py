"""From what an export says to the plan that is kept: with what was asked for, and what is configured here."""

from collections.abc import Mapping
from typing import Any

from agent.engine.desk import Settings
from agent.engine.portals import reachable_first
from agent.model import Request
from attachers import nfs


async def plan_of(protocol: str, plan: dict[str, Any], request: Request, settings: Settings) -> dict[str, Any]:
    """The plan's JSON values, from those of the export. Nothing of an export becomes a mount option."""
    if "portals" in plan:
        plan = {**plan, "portals": await reachable_first(plan["portals"])}
    if protocol == nfs.protocol:
        options: dict[str, Any] = {"options": settings.nfs_options, "downgrade": settings.nfs_downgrade}
        options["discard"] = settings.nfs_discard
        plan = nfs.plan_of({**plan, **options, "present": str(request.present)}).as_json()
    return plan


def place_of(plan: Mapping[str, Any]) -> tuple[object, ...]:
    """What a plan says of where its unit is: the order of ways is none of it, nor is the size."""
    ways = (frozenset(plan.get(name, ())) for name in ("portals", "targets"))
    return plan.get("target"), plan.get("lun"), *ways
