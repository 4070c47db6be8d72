"""From a SCSI address to a published disk and back, on the real host: no process at all, but workers."""

from pathlib import Path
from typing import Any

from agent.host import dm, links, linux_links, nexus, sysfs, unit_users, wwids
from agent.host.tools import Tools, left
from attachers import checks
from attachers.base import MadeByAnotherError, Uncertain
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN
from attachers.steps import Publish, RemoveDevice, Rescan, Scan, Unpublish

PROBED_S = 5.0  # how long udev may take to finish with a disk before it is deleted or given away all the same
LOOK_S = 0.2  # how often its queue is looked at meanwhile: no event tells that it became empty


async def scan(tools: Tools, step: Scan, deadline: float) -> None:
    """Claim the address, and have the kernel look at it.

    Synchronous: scsi_transport_iscsi.c iscsi_user_scan, scsi_transport_fc.c fc_user_scan. Raises `MadeByAnotherError`
    where the device is there already.
    """
    if sysfs.has_device(tools.roots, step.hctl):
        raise MadeByAnotherError(step.describe())
    host, channel, target, lun = step.hctl.split(":")
    sessions = nexus.sessions(tools.roots, step.target)
    if not any(s.at(int(lun)) == step.hctl and s.portal == step.portal and s.state == LOGGED_IN for s in sessions):
        detail = f"no session to {step.target} at {step.portal} leads to {step.hctl} (now)"
        raise Problem(Code.TARGET_TIMEOUT, detail, hint="try again", step=step.describe())
    fibre = (step.target, step.portal) if checks.is_wwpn(step.target) else None
    links.claim(tools.roots, step.hctl, nexus=fibre, unit=step.wwid)
    path = tools.roots.sys / f"class/scsi_host/host{host}/scan"
    await _call(tools, step, deadline, "write", path=str(path), text=f"{channel} {target} {lun}")
    if not sysfs.has_device(tools.roots, step.hctl):
        links.drop_claim(tools.roots, step.hctl)  # a scan that finds nothing is no failure, as in the kernel


async def publish(tools: Tools, step: Publish, deadline: float) -> tuple[int, int] | None:
    """Prove the disk, then hand it out: owner, read-only flag, its links, and the attachment's link last.

    Raises `Problem` in-use where somebody uses the unit. Returns the numbers that the owner's names stand for.
    """
    disk = disk_with_node(tools, step.hctl)
    owner = await _owner(tools, step, deadline) if step.owner and not step.borrowed else None
    await unit_users.refuse_users(tools, step, [disk], disk.node or "", deadline)
    if owner:
        await _tell_udev(tools, step, disk, owner, deadline)
    others = links.names_of(tools.roots, step.wwid) - {step.name}
    keep = step.borrowed or (step.read_only and others)  # never takes the right to write from another
    read_only = None if keep else step.read_only
    proof = proof_of(tools, disk, step.wwid) | {"unit": links.expected_at(tools.roots, step.hctl)}
    await _call(tools, step, deadline, "prepare", **proof, owner=owner, read_only=read_only)
    await linux_links.lead_to_disk(tools, step, disk, deadline)
    links.put_name(tools.roots, step.name, step.wwid)
    return owner


async def _owner(tools: Tools, step: Publish, deadline: float) -> tuple[int, int]:
    user, group = await _call(tools, step, deadline, "owner_numbers", owner=step.owner)
    return user, group


async def _tell_udev(tools: Tools, step: Publish, disk: sysfs.Disk, owner: tuple[int, int], deadline: float) -> None:
    """udev gives a new node to root: it reads the owner in the claim, and has to be done first."""
    if links.is_claimed(tools.roots, step.hctl):
        links.claim(tools.roots, step.hctl, owner)
    await probed(tools, disk, deadline)


async def unpublish(tools: Tools, step: Unpublish, deadline: float) -> None:
    """Take the link of the logical unit away where nobody else needs it, then the attachment's.

    In this order, since a crash in between has to leave the one that is in the record of what was made.
    """
    if step.wwid:
        await linux_links.drop(tools, step.wwid, step, deadline)
    links.drop_name(tools.roots, step.name)


async def rescan(tools: Tools, step: Rescan, deadline: float) -> None:
    """Prove the disk, and have the kernel read its size again."""
    disk = disk_with_node(tools, step.hctl)
    device = tools.roots.sys / "class/scsi_device" / step.hctl / "device"
    proved = proof_of(tools, disk, step.wwid)
    await _call(tools, step, deadline, "rescan", **proved, device=str(device))


async def remove(tools: Tools, step: RemoveDevice, deadline: float) -> None:
    """Flush and delete a device that nobody has open, once udev has finished with it, and wait until it is gone."""
    disk = sysfs.disk(tools.roots, step.hctl)
    if disk is not None:
        await probed(tools, disk, deadline)
        device = tools.roots.sys / "class/scsi_device" / step.hctl / "device"
        args = {"device": str(device), "hctl": step.hctl, "wwid": step.wwid, "lost": step.lost}
        await _call(tools, step, deadline, "remove", **args, where=where(tools))
    while True:
        since = tools.changes.count
        if not sysfs.has_device(tools.roots, step.hctl):
            break
        if not left(deadline):
            raise Uncertain(step.describe())
        await tools.changes.above(since, timeout_s=min(LOOK_S, left(deadline)))
    links.drop_path(tools.roots, step.hctl)
    name = f"{dm.UNPROVED}{step.hctl}"  # what multipathd made of it by this name may be gone, its line stays (case 96)
    if wwids.has(tools.roots, name):
        await _call(tools, step, deadline, "strike_off", path=str(wwids.path_of(tools.roots)), name=name)


def where(tools: Tools) -> dict[str, Any]:
    """Where `blocks.alone` finds nodes, our links, a disk's users, and what tells of write-outs."""
    roots = tools.roots
    places = {"nodes": str(roots.dev), "devices": str(roots.devices), "unwritten": str(roots.unwritten)}
    return places | {"lost": [str(roots.links), str(roots.devices)], "holders": tools.where()}


async def probed(tools: Tools, disk: sysfs.Disk, deadline: float) -> None:
    """Wait until udev has finished with a disk (attach.md, case 74): for a while, then go on all the same."""
    until = min(left(deadline), PROBED_S)
    end = deadline - left(deadline) + until
    while disk.number and left(end):
        since = tools.changes.count
        if links.is_probed(tools.roots, disk):
            return
        await tools.changes.above(since, timeout_s=min(LOOK_S, left(end)))


def disk_with_node(tools: Tools, hctl: str) -> sysfs.Disk:
    """The disk at that address. Raises `Problem` where it has no block device."""
    disk = sysfs.disk(tools.roots, hctl)
    if disk is None or disk.node is None:
        raise Problem(Code.DEVICE_TIMEOUT, f"there is no disk at {hctl}", hint="see the kernel's log on this host")
    return disk


def proof_of(tools: Tools, disk: sysfs.Disk, wwid: str) -> dict[str, Any]:
    """What a worker needs to prove it."""
    node: Path = tools.roots.dev / (disk.node or "")
    return {"node": str(node), "number": disk.number, "wwid": wwid}


async def _call(
    tools: Tools, step: Scan | Publish | RemoveDevice | Rescan, deadline: float, function: str, **args: Any
) -> Any:
    return await tools.pool.call(function, args, timeout_s=left(deadline), what=step.describe())
