"""Who uses a logical unit on this host: by any disk that is it, whatever leads there, or by the map above them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.host import dm, links, sysfs
from agent.host.tools import Tools, left, sought
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem
from attachers.steps import Publish, Step

SEARCH_S = 10.0
HINT = "stop or detach the user of the disk, then try again"


@dataclass(frozen=True, slots=True)
class Users:
    """Who was found: of the whole unit; of each disk by its SCSI address, but for the unit's map; of the map (None:
    there is none). Partitions of the map that nobody has open are nobody: kpartx made them.
    """

    unit: tuple[str, ...] = ()
    disks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    map: tuple[str, ...] | None = None


async def search(
    tools: Tools,
    names: Collection[str],
    disks: Sequence[sysfs.Disk],
    *,
    beside: Sequence[sysfs.Disk] = (),
    published: Collection[str] = (),
    awake: Collection[str] = (),
    timeout_s: float = SEARCH_S,
) -> Users:
    """Look for the users of a unit by the names that it answers, one search for all of it.

    `disks` are known to be it, every other disk of one of these names counts as well; `beside` are disks of other
    units, whose users are wanted, too. `published` are the attachments by whose links it is, or was, handed out.
    `awake` are the kernel names of the block devices (sda, dm-0) that answer: these can be asked, by an exclusive open,
    whether the kernel itself uses them. Raises `Problem`, `Abandoned`.
    """
    ours = [*disks, *(one for one in _known_as(tools, names) if one.hctl not in {disk.hctl for disk in disks})]
    found = dm.find_any(tools.roots, names, [disk.node for disk in ours if disk.node])
    parts = [part for holder in found.holders if (part := dm.partition(tools.roots, holder, found))] if found else []
    above = [(found.node, found.number), *parts] if found else []
    texts = [str(tools.roots.devices / name) for name in names] + [str(tools.roots.links / name) for name in published]
    free = () if found else awake  # the map itself has claimed them
    wanted = [sought(disk, names=texts, claim=disk.node in free) for disk in ours]
    wanted += [sought(disk) for disk in beside]
    wanted += [_sought_map(node, number, texts, claim=node in awake and not parts) for node, number in above]
    args = {"disks": wanted, "nodes": str(tools.roots.dev), "where": tools.where()}
    answers: list[list[str]] = await tools.pool.call("users", args, timeout_s=timeout_s)
    nobody = {f"device {node}" for node, _ in above}
    told = [tuple(user for user in users if user not in nobody) for users in answers]
    of_map = tuple(dict.fromkeys(user for users in told[len(ours) + len(beside) :] for user in users))
    unit = dict.fromkeys(user for users in [*told[: len(ours)], of_map] for user in users)
    by_disk = {disk.hctl: users for disk, users in zip([*ours, *beside], told, strict=False)}
    return Users(tuple(unit), by_disk, of_map if found else None)


def _known_as(tools: Tools, names: Collection[str]) -> list[sysfs.Disk]:
    """Every disk that the kernel takes for a unit of one of these names."""
    nodes = [node for node in sysfs.entries(f"{tools.roots.sys}/block") if sysfs.wwid_of(tools.roots, node) in names]
    disks = (sysfs.disk(tools.roots, dm.hctl_of(tools.roots, node)) for node in nodes)
    return [disk for disk in disks if disk]


def _sought_map(node: str, number: str, names: Sequence[str], *, claim: bool) -> dict[str, Any]:
    return {"node": node, "block": [number], "character": [], "names": names, "claim": number if claim else ""}


async def looked_for(tools: Tools, names: Collection[str], disks: Sequence[sysfs.Disk], **more: Any) -> Users:
    """`search`, for a sight: what cannot be found out counts as somebody."""
    beside: Sequence[sysfs.Disk] = more.get("beside", ())
    try:
        return await search(tools, names, disks, **more)
    except (Problem, Abandoned) as problem:
        why = problem.detail if isinstance(problem, Problem) else f"no answer within {SEARCH_S:g} s"
        unknown = (f"unknown: {why}",)
        return Users(unknown, {disk.hctl: unknown for disk in [*disks, *beside]}, unknown)


async def refuse_users(tools: Tools, step: Publish, disks: Sequence[sysfs.Disk], node: str, deadline: float) -> None:
    """Before a unit is handed out: raises `Problem` (`in-use`) where anybody uses it to whom we did not give it.

    It may be, where it was handed out before and is published anew, or is published for another attachment; and what is
    borrowed may be read by whoever is let in.
    """
    published = links.names_of(tools.roots, step.wwid)
    if step.again or published - {step.name} or (step.borrowed and step.read_only):
        return
    if published and links.of_device(tools.roots, step.wwid) == f"/dev/{node}":
        return
    names = {step.wwid, *(disk.wwid for disk in disks if disk.wwid)}
    found = await search(
        tools, names, disks, published=[step.name], awake=[node], timeout_s=min(SEARCH_S, left(deadline))
    )
    if found.unit:
        raise in_use(step, f"/dev/{node} ({step.wwid})", found.unit)


def in_use(step: Step, what: str, users: Sequence[str]) -> Problem:
    """The refusal that names the users."""
    return Problem(Code.IN_USE, f"{what} is in use by {', '.join(users)}", hint=HINT, step=step.describe())
