"""Domains of libvirt on the real host: a look at one, a disk given, grown, taken back; all of it in workers."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.host import domains, links
from agent.host.tools import Tools, left
from attachers import checks
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import DomainDisk, DomainSight
from attachers.steps import DEVICES, GiveDisk, ResizeDisk, TakeDisk

LOOK_S = 10.0
MARGIN_S = 1.0  # a worker that waits for a guest says so before it is given up

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "find_domain": domains.find_domain,
    "give_disk": domains.give_disk,
    "resize_disk": domains.resize_disk,
    "take_disk": domains.take_disk,
}


async def look(tools: Tools, domain: str) -> DomainSight:
    """A domain and its disks. Raises `Problem` where there is no libvirt, or it does not answer."""
    if reason := domains.missing(tools.roots):
        raise Problem(Code.UNSUPPORTED_ON_HOST, f"no libvirt here: {reason}")
    found = await tools.look("find_domain", {"domain": domain}, LOOK_S)
    disks = tuple(DomainDisk(target, source) for target, source in found["disks"])
    return DomainSight(exists=found["exists"], active=found["active"], disks=disks, runs=found["runs"])


async def give(tools: Tools, step: GiveDisk, deadline: float) -> None:
    """Hot-plug what is published; of a disk, once what the link leads to at that moment has proved itself."""
    link = links.of_name(tools.roots, step.name)
    wwid = (link or "").removeprefix(f"{DEVICES}/") if step.kind == "block" else ""
    if link is None or (step.kind == "block" and not checks.WWID.fullmatch(wwid)):
        raise Problem(Code.CONFLICT, f"{step.name} is not published on this host", hint="attach it first")
    args: dict[str, Any] = {
        "name": step.name,
        "domain": step.domain,
        "target": step.target,
        "bus": step.bus,
        "read_only": step.read_only,
        "kind": step.kind,
        "unit": {"node": str(tools.roots.devices / wwid), "wwid": wwid} if wwid else None,
    }
    await tools.pool.call("give_disk", args, timeout_s=left(deadline), what=step.describe())


async def tell_size(tools: Tools, step: ResizeDisk, deadline: float) -> None:
    """Tell it the new size of what it has."""
    args = {"name": step.name, "domain": step.domain, "target": step.target, "size": step.size}
    await tools.pool.call("resize_disk", args, timeout_s=left(deadline), what=step.describe())


async def take_back(tools: Tools, step: TakeDisk, deadline: float) -> None:
    """Hot-unplug it again. Raises `Uncertain` while the guest keeps it."""
    wait_s = max(0.0, left(deadline) - MARGIN_S)
    args = {"name": step.name, "domain": step.domain, "target": step.target, "wait_s": wait_s}
    if not await tools.pool.call("take_disk", args, timeout_s=left(deadline), what=step.describe()):
        raise Uncertain(step.describe())
