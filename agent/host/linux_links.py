"""The links of logical units on the real host, made so that udev knows of each and takes it along with its disk.

The helper writes down what it has proved (`proofs`) and has udev look again. Where our rule is installed nobody waits
for that: the link is made at once, with the very text that udev gives it. Where that is not sure (a disk that was there
before us, no rule) udev's word is waited for, or a link of the host's own rules has to do; else there is no link.
"""

from collections.abc import Callable
from typing import Any

from agent.host import announced, dm, links, proofs, sysfs
from agent.host.roots import Roots
from agent.host.tools import Tools, left
from attachers.problems import Code, Problem
from attachers.steps import ForgetMap, JoinMap, LeaveMap, Publish, Unpublish

KEPT_S = 5.0  # how long udev may take where it is not sure to take notice; else as long as there is time
LOOK_S = 0.2
OF_DISKS, OF_MAPS = ("wwn-", "scsi-"), ("dm-uuid-mpath-",)
"""What links of the host's own rules begin with, by what a disk or a map is (systemd, lvm2: dm's rules)."""
Told = Publish | Unpublish | JoinMap | LeaveMap | ForgetMap


async def lead_to_disk(tools: Tools, step: Publish, disk: sysfs.Disk, deadline: float) -> None:
    """Have the link of a logical unit lead to a proved disk, and to no other one.

    Raises `Problem` (`unsupported-on-host`) where it would not go with the disk.
    """
    roots, node = tools.roots, disk.node or ""
    for other in proofs.drop_links(roots, step.wwid, but=disk):
        await _look_again(tools, other, step, deadline)
    proofs.put_link(roots, disk, step.wwid)
    if not proofs.keeps_link(roots, disk.number, step.wwid):
        await _event(tools, _block_of(roots, node), step, deadline)
    if links.is_claimed(roots, disk.hctl) and proofs.has_rule(roots):
        links.put_device(roots, step.wwid, disk.hctl, node)
        return
    try:
        await _insist_on_kept(tools, step, node, disk.number, OF_DISKS, deadline)
    except Problem:
        proofs.drop(roots, disk.hctl)
        raise


async def lead_to_map(tools: Tools, step: Publish, found: dm.Map, deadline: float) -> None:
    """Have the link of a logical unit lead to its map. Our own udev was told of before it was made."""
    roots = tools.roots
    for other in proofs.drop_links(roots, step.wwid):
        await _look_again(tools, other, step, deadline)
    if announced.is_ours(roots, step.wwid) and found.uuid == dm.uuid_of(step.wwid) and proofs.has_rule(roots):
        links.put_map(roots, step.wwid, found.node)
        return
    proofs.put_map(roots, found.uuid, step.wwid)
    if not proofs.keeps_link(roots, found.number, step.wwid):
        await _event(tools, _block_of(roots, found.node), step, deadline)
    await _insist_on_kept(tools, step, found.node, found.number, OF_MAPS, deadline)


async def _insist_on_kept(
    tools: Tools, step: Publish, node: str, number: str, kinds: tuple[str, ...], deadline: float
) -> None:
    roots, place = tools.roots, tools.roots.devices / step.wwid
    by_id = links.by_id(roots, node, kinds)
    if await _noticed(tools, deadline, lambda: proofs.keeps_link(roots, number, step.wwid), sure=not by_id):
        links.put(place, f"../{node}")
    elif by_id:
        links.put(place, by_id)
    elif proofs.has_rule(roots):
        raise _late(node)
    else:
        text = f"udev keeps no link to /dev/{node}: ours would lead to the next disk of that name"
        hint = f"install the udev rule {proofs.RULE}; see: cdmi-attach doctor --check udev-rule"
        raise Problem(Code.UNSUPPORTED_ON_HOST, text, hint=hint)


async def tell_path(tools: Tools, step: JoinMap, disk: sysfs.Disk, deadline: float) -> None:
    """Have udev tell multipathd of which map a proved disk of ours is a path; wait until it has.

    multipathd takes no path that udev says nothing of yet: it calls it blacklisted.
    Raises `Problem` (`unavailable`: the step may be repeated) where udev, with our rule, has not come to it in time.
    """
    roots = tools.roots
    proofs.put_path(roots, disk, step.wwid)
    if not proofs.knows_path(roots, disk.number, step.wwid):
        await _event(tools, _block_of(roots, disk.node or ""), step, deadline)
    known = await _noticed(tools, deadline, lambda: proofs.knows_path(roots, disk.number, step.wwid))
    if not known and proofs.has_rule(roots):
        raise _late(disk.node or "")


async def untell_path(tools: Tools, step: LeaveMap, deadline: float) -> None:
    """Take back that a disk of ours is a path: multipathd would take it into the map again at the next event."""
    if links.is_claimed(tools.roots, step.hctl):
        proofs.drop(tools.roots, step.hctl)
        await _look_again(tools, step.hctl, step, deadline)


async def drop(tools: Tools, wwid: str, step: Unpublish | ForgetMap, deadline: float) -> None:
    """Take the link of a logical unit away; where its disk or map stays, udev forgets the link, too."""
    await _linked(tools, wwid, deadline)
    links.drop_device(tools.roots, wwid)
    for who in proofs.drop_links(tools.roots, wwid):
        if not links.is_claimed(tools.roots, who):
            await _look_again(tools, who, step, deadline)


async def _linked(tools: Tools, wwid: str, deadline: float) -> None:
    """Wait until udev has come to the link that was made a moment ago: what goes while it looks makes noise."""
    roots, node = tools.roots, (links.of_device(tools.roots, wwid) or "").removeprefix("/dev/")
    number = sysfs.text(f"{_block_of(roots, node)}/dev") if node and proofs.is_linked(roots, node, wwid) else None
    if number and proofs.has_rule(roots):
        await _noticed(tools, deadline, lambda: proofs.keeps_link(roots, number, wwid), sure=False)


async def _noticed(tools: Tools, deadline: float, is_so: Callable[[], bool], *, sure: bool = True) -> bool:
    """Wait until udev has taken notice; at most `KEPT_S` where it is not sure to, or need not (`sure`).

    A udev that is behind, after a boot or with hundreds of disks, comes to it all the same.
    """
    roots, end = tools.roots, deadline
    if not (sure and proofs.has_rule(roots)):
        end = deadline - left(deadline) + min(left(deadline) / 2, KEPT_S)
    while True:
        since = tools.changes.count
        if is_so():
            return True
        if not proofs.has_udev(roots) or not left(end):
            return False
        await tools.changes.above(since, timeout_s=min(LOOK_S, left(end)))


def _late(node: str) -> Problem:
    text = f"udev has not come to /dev/{node} yet"
    return Problem(Code.UNAVAILABLE, text, hint="see what keeps udev busy: udevadm settle; then try again")


async def _look_again(tools: Tools, who: str, step: Told, deadline: float) -> None:
    """Have udev look at a disk (by its address) or a map (by its uuid) again, if it is there."""
    disk = sysfs.disk(tools.roots, who)
    found = dm.by_uuid(tools.roots, who) if disk is None else None
    node = disk.node if disk else found.node if found else None
    if node:
        await _event(tools, _block_of(tools.roots, node), step, deadline)


def _block_of(roots: Roots, node: str) -> str:
    return f"{roots.sys}/block/{node}"


async def _event(tools: Tools, place: str, step: Told, deadline: float) -> Any:
    """Documentation/ABI/testing/sysfs-uevent. Raises `OSError` where the device has gone."""
    args = {"path": f"{place}/uevent", "text": "change"}
    return await tools.pool.call("write", args, timeout_s=left(deadline), what=step.describe())
