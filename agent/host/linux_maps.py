"""Multipath maps on the real host: announced to udev, made and removed by multipathd, judged by what sysfs shows."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.host import announced, dm, links, linux_disks, linux_links, sysfs, unit_users, wwids
from agent.host.tools import Tools, left
from attachers import unit_names
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.steps import AnnounceMap, ForgetMap, JoinMap, LeaveMap, MapStep, Publish, RemoveMap, ResizeMap

LOOK_S = 0.2  # how often a map is tried to be removed, or multipathd is asked, while no event tells anything
BUSY_S = 5.0  # how long a map that nobody seems to have open is tried to be removed (udev, LVM, ...)
FLUSH_S = 10.0  # how long a flush is waited for


async def take(tools: Tools, step: MapStep, deadline: float) -> None:
    """Take a step of maps; see `Host.act`. `deadline` is monotonic."""
    match step:
        case AnnounceMap():
            await announce(tools, step, deadline)
        case JoinMap():
            await join(tools, step, deadline)
        case LeaveMap():
            await leave(tools, step, deadline)
        case ResizeMap():
            await resize(tools, step, deadline)
        case RemoveMap():
            await remove(tools, step, deadline)
        case ForgetMap():
            await forget(tools, step, deadline)


async def announce(tools: Tools, step: AnnounceMap, deadline: float) -> None:
    """Two small files, with the owner of the map's node; of a borrowed map the one that is about its paths."""
    if step.borrowed:
        announced.put_path(tools.roots, step.wwid)
    else:
        announced.put(tools.roots, step.wwid, await _owner(tools, step, deadline))


async def join(tools: Tools, step: JoinMap, deadline: float) -> None:
    """Prove the path; have multipathd know it, by the right name, and make the map where there is none (case 48)."""
    disk = linux_disks.disk_with_node(tools, step.hctl)
    node = disk.node or ""
    if not announced.has(tools.roots, step.wwid):
        raise Problem(Code.CONFLICT, f"no map of {step.wwid} is announced", hint="try again")
    unit = links.expected_at(tools.roots, step.hctl)
    proof = linux_disks.proof_of(tools, disk, step.wwid) | {"unit": unit}
    await _call(tools, step, deadline, "prepare", **proof, owner=None, read_only=None)
    if links.is_claimed(tools.roots, step.hctl):  # multipathd reads the name in udev's entry
        await linux_links.tell_path(tools, step, disk, deadline)
    else:
        await linux_disks.probed(tools, disk, deadline)
    found = dm.find(tools.roots, [step.wwid])
    if found and node in found.slaves:
        return
    await _refuse_claimed(tools, step, disk, deadline)
    if found is None and not announced.is_ours(tools.roots, step.wwid):  # the borrowed one is gone: this makes ours
        announced.put(tools.roots, step.wwid)
    await tools.multipathd.add_path(node)
    name = dm.multipath_name(step.wwid)
    known = next((path.wwid for path in await tools.multipathd.paths() if path.node == node), "")
    if known != name:
        detail = f"multipathd takes {node} ({step.hctl}) for {known or 'nothing'}, not for {name}"
        raise Problem(Code.WRONG_DEVICE, detail, hint="see uid_attribute in /etc/multipath.conf, and udev's ID_SERIAL")
    if dm.find(tools.roots, [step.wwid]) is None:
        await tools.multipathd.add_map(name)


async def _refuse_claimed(tools: Tools, step: JoinMap, disk: sysfs.Disk, deadline: float) -> None:
    """device-mapper takes no disk that the kernel uses, and multipathd does not say so: who it is, is named here."""
    if not await _call(tools, step, deadline, "claimed", node=str(tools.roots.dev / (disk.node or ""))):
        return
    users = await unit_users.search(tools, (), [disk], awake=[disk.node or ""], timeout_s=left(deadline))
    if users.unit:
        raise unit_users.in_use(step, f"/dev/{disk.node}", users.unit)


async def leave(tools: Tools, step: LeaveMap, deadline: float) -> None:
    """Take a path out; nothing to do where it is in no map of that unit."""
    disk = sysfs.disk(tools.roots, step.hctl)
    found = dm.find_any(tools.roots, [step.wwid])
    if disk is None or found is None or disk.node not in found.slaves:
        return
    await linux_links.untell_path(tools, step, deadline)
    await tools.multipathd.del_path(disk.node)
    await _until(tools, step, deadline, lambda: _is_out(tools, step, disk.node or ""))


def _is_out(tools: Tools, step: LeaveMap, node: str) -> bool:
    found = dm.find_any(tools.roots, [step.wwid])
    return found is None or node not in found.slaves


async def publish(tools: Tools, step: Publish, deadline: float) -> tuple[int, int] | None:
    """Prove the map and read from it, then hand it out. Returns the numbers that the owner's names stand for."""
    found = dm.find(tools.roots, [step.wwid])
    if found is None or found.suspended:
        raise Problem(Code.DEVICE_TIMEOUT, f"the map of {step.wwid} is {'suspended' if found else 'not there'}")
    hctls = (dm.hctl_of(tools.roots, node) for node in found.slaves)
    paths = [disk for hctl in hctls if hctl and (disk := sysfs.disk(tools.roots, hctl))]
    await unit_users.refuse_users(tools, step, paths, found.node, deadline)
    owner = None if step.borrowed else await _owner(tools, step, deadline)
    told = announced.is_ours(tools.roots, step.wwid)
    if owner and told and not announced.is_owned(tools.roots, step.wwid, owner):
        announced.put(tools.roots, step.wwid, owner)
    others = links.names_of(tools.roots, step.wwid) - {step.name}
    read_only = None if step.borrowed or (step.read_only and others) else step.read_only
    proof = {"node": str(tools.roots.dev / found.node), "number": found.number, "wwid": step.wwid}
    await _call(tools, step, deadline, "prepare_map", **proof, owner=owner, read_only=read_only)
    await linux_links.lead_to_map(tools, step, found, deadline)
    links.put_name(tools.roots, step.name, step.wwid)
    return owner


async def resize(tools: Tools, step: ResizeMap, deadline: float) -> None:
    """By multipathd, which looks at the first path alone; so all are looked at here, and the map after it (case 51)."""
    found = dm.find(tools.roots, [step.wwid])
    if found is None:
        raise Problem(Code.DEVICE_TIMEOUT, f"there is no map of {step.wwid}", hint="try again")
    sizes = {node: sysfs.size_of(tools.roots, node) for node in found.slaves}
    if behind := [f"/dev/{node} has {size} bytes" for node, size in sizes.items() if size != step.size]:
        text = f"not every path of {_what(found)} has {step.size} bytes: {', '.join(behind)}"
        raise Problem(Code.CONFLICT, text, hint="see that every path works, then try again")
    if found.size != step.size:
        await tools.multipathd.resize_map(found.name)
        await _until(tools, step, deadline, lambda: _has_size(tools, step))


def _has_size(tools: Tools, step: ResizeMap) -> bool:
    found = dm.find(tools.roots, [step.wwid])
    return found is not None and found.size == step.size


async def remove(tools: Tools, step: RemoveMap, deadline: float) -> None:
    """In use? Flush; then remove, by multipathd where it knows the map (cases 44 to 47).

    What multipathd has made of disks of the unit before they were proved goes as well; nobody can have written to it.
    """
    while found := dm.find_any(tools.roots, [step.wwid]):
        if not left(deadline):
            raise Uncertain(step.describe())
        await _refuse_users(tools, step, found, deadline)
        if dm.is_misnamed(found):
            await _stop_queueing(tools, step, found, deadline)  # a probe may be waiting for its path
            await _delete(tools, step, found, deadline)
            await _forget_misnamed(tools, step, found, deadline)
        else:
            await _remove(tools, step, found, deadline)
    if step.listed:
        await _strike_off(tools, step, deadline)


async def _remove(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    stopped = not await _flush(tools, step, found, deadline)
    try:
        await _delete(tools, step, found, deadline)
    except Problem:
        if stopped:
            with suppress(Problem):
                await tools.multipathd.restore_queueing(found.name)
        raise


async def _forget_misnamed(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    """Else multipathd would make one of whatever comes at that address."""
    name = found.uuid.removeprefix("mpath-")
    await _call(tools, step, deadline, "strike_off", path=str(wwids.path_of(tools.roots)), name=name)


async def _flush(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> bool:
    """Write out the cache. Without a usable path it is refused, or, where the loss is known, queueing stops instead
    (case 45). Whether it was written out.
    """
    if not await _is_usable(tools, step, found, deadline):
        if not step.lost:
            detail = f"{_what(found)} has no usable path: what was written to it cannot be written out now"
            raise Problem(Code.TARGET_TIMEOUT, detail, hint="bring a path back")
        await _stop_queueing(tools, step, found, deadline)
        return False
    args = {"node": str(tools.roots.dev / found.node), "number": found.number, "lost": step.lost}
    fate = str(tools.roots.unwritten / step.wwid)
    limit = min(FLUSH_S, left(deadline) / 2)
    try:  # it is never killed (case 46): it ends when a path is back, or the last one is given up
        await tools.pool.call("flush_map", args | {"fate": fate}, timeout_s=limit, what=step.describe())
    except Problem:
        if not step.lost:
            raise
    return True


async def stop_queueing(tools: Tools, step: RemoveMap, deadline: float) -> None:
    """Let whatever waits for a path of a map fail, where no path is usable."""
    found = dm.find_any(tools.roots, [step.wwid])
    if found and not await _is_usable(tools, step, found, deadline):
        await _stop_queueing(tools, step, found, deadline)


async def _is_usable(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> bool:
    status = await _call(tools, step, deadline, "map_status", uuid=found.uuid)
    return status is not None and any(status["paths"].values())


async def _stop_queueing(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    try:
        await tools.multipathd.disable_queueing(found.name)
    except Problem:  # it does not run, or does not know this map
        await _call(tools, step, deadline, "map_stop_queueing", uuid=found.uuid)


async def _delete(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    """Have it removed, again and again for a while: udev or LVM may have a look at it just now (case 44)."""
    end = deadline - left(deadline) + min(left(deadline), BUSY_S)
    while True:
        since = tools.changes.count
        try:
            await _ask_to_delete(tools, step, found, deadline)
        except Problem as problem:
            if not left(end) and dm.by_uuid(tools.roots, found.uuid):
                await _refuse_users(tools, step, found, deadline)
                raise Problem(Code.IN_USE, f"{_what(found)} is busy: {problem.detail}", hint=unit_users.HINT) from None
        if dm.by_uuid(tools.roots, found.uuid) is None:
            return
        if not left(deadline):
            raise Uncertain(step.describe())
        await tools.changes.above(since, timeout_s=LOOK_S)


async def _ask_to_delete(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    """By multipathd, which takes its own partitions and its memory of the map along; else as the kernel has it."""
    try:
        await tools.multipathd.del_map(found.name)
    except Problem:
        now = dm.at(tools.roots, found.node)
        if now is None or now.uuid != found.uuid:
            return
        if now.slaves and not tools.multipathd.missing():
            raise
        await _call(tools, step, deadline, "map_remove", uuid=found.uuid)


def _what(found: dm.Map) -> str:
    return f"/dev/{found.node} ({found.name})"


async def _refuse_users(tools: Tools, step: RemoveMap, found: dm.Map, deadline: float) -> None:
    users = await unit_users.search(tools, [step.wwid], (), timeout_s=left(deadline))
    if users.map:
        raise unit_users.in_use(step, _what(found), users.map)


async def forget(tools: Tools, step: ForgetMap, deadline: float) -> None:
    """Wait until multipathd has let go of every path that is gone (case 43), then take back what was written down."""
    if not tools.multipathd.missing():
        await _forget_paths(tools, step, deadline)
    if step.listed:
        await _strike_off(tools, step, deadline)
    announced.drop(tools.roots, step.wwid)
    if not links.names_of(tools.roots, step.wwid):  # a map of somebody else's may still be there
        await linux_links.drop(tools, step.wwid, step, deadline)


async def _strike_off(tools: Tools, step: RemoveMap | ForgetMap, deadline: float) -> None:
    name = dm.multipath_name(step.wwid)
    if wwids.has(tools.roots, name):
        await _call(tools, step, deadline, "strike_off", path=str(wwids.path_of(tools.roots)), name=name)


async def _forget_paths(tools: Tools, step: ForgetMap, deadline: float) -> None:
    """multipathd hears of a removed disk by udev; where that does not come, it is told."""
    name = dm.multipath_name(step.wwid)
    patient_until = deadline - left(deadline) / 2
    while True:
        since = tools.changes.count
        known = [path.node for path in await tools.multipathd.paths() if path.wwid == name]
        lost = [node for node in known if _is_another(tools, node, step.wwid)]
        if not lost:
            return
        if not left(deadline):
            raise Uncertain(step.describe())
        if not left(patient_until):
            for node in lost:
                with suppress(Problem):  # it has heard of it meanwhile
                    await tools.multipathd.del_path(node)
        await tools.changes.above(since, timeout_s=LOOK_S)


def _is_another(tools: Tools, node: str, wwid: str) -> bool:
    """Whether a disk of that name is gone, or is another logical unit by now, as far as the kernel's memory tells."""
    remembered = sysfs.wwid_of(tools.roots, node)
    return not Path(tools.roots.sys, "block", node).exists() or (
        remembered is not None and unit_names.is_name(remembered) and remembered != wwid
    )


async def _until(tools: Tools, step: MapStep, deadline: float, done: Callable[[], bool]) -> None:
    while True:
        since = tools.changes.count
        if done():
            return
        if not left(deadline):
            raise Uncertain(step.describe())
        await tools.changes.above(since, timeout_s=LOOK_S)


async def _owner(tools: Tools, step: AnnounceMap | Publish, deadline: float) -> tuple[int, int] | None:
    if not step.owner:
        return None
    user, group = await _call(tools, step, deadline, "owner_numbers", owner=step.owner)
    return user, group


async def _call(tools: Tools, step: MapStep | Publish, deadline: float, function: str, **args: Any) -> Any:
    return await tools.pool.call(function, args, timeout_s=left(deadline), what=step.describe())
