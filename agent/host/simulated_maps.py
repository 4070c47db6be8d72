"""What the steps of multipath maps do to a simulated host, and what it shows of a map."""

from agent.host import simulated_cache
from agent.host.simulated_kernel import UNPROVED, Kernel, Map
from attachers.problems import Code, Problem
from attachers.sights import MapNotes, MapPath, ScsiMap
from attachers.steps import (
    DEVICES,
    AnnounceMap,
    ForgetMap,
    JoinMap,
    LeaveMap,
    MapStep,
    Publish,
    RemoveMap,
    ResizeMap,
)


def take_on_map(kernel: Kernel, step: MapStep) -> None:
    """Change the host as the step says. Raises `Problem` where it is refused."""
    match step:
        case AnnounceMap(wwid, owner, borrowed):
            kernel.announced[wwid] = kernel.announced.get(wwid) if borrowed else owner
        case JoinMap():
            _join(kernel, step)
        case LeaveMap():
            _leave(kernel, step)
        case ResizeMap():
            _resize(kernel, step)
        case RemoveMap():
            _remove(kernel, step)
        case ForgetMap():
            _forget(kernel, step)


def _join(kernel: Kernel, step: JoinMap) -> None:
    if step.wwid not in kernel.announced:
        raise _refused(step, Code.CONFLICT, f"no map of {step.wwid} is announced")
    found = kernel.device(step.hctl)
    if found is None or found[1].node is None:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"there is no disk at {step.hctl}")
    names = kernel.names(*found)
    if not names:
        raise _refused(step, Code.UNAVAILABLE, f"{step.hctl} gives no answer")
    if (expected := kernel.expected.get(step.hctl, step.wwid)) not in names and step.hctl in kernel.claims:
        raise _refused(step, Code.WRONG_DEVICE, f"{step.hctl} was claimed for {expected}")
    if not {step.wwid, found[1].wwid} <= names:
        raise _refused(step, Code.WRONG_DEVICE, f"{step.hctl} is {', '.join(sorted(names))}, not {step.wwid}")
    if not kernel.multipathd.runs:
        raise _refused(step, Code.UNAVAILABLE, "multipathd does not run on this host")
    if step.wwid in kernel.multipathd.blacklisted:
        raise _refused(step, Code.UNSUPPORTED_ON_HOST, f"multipathd: add path {step.hctl}: blacklisted")
    if step.wwid not in kernel.maps and kernel.announced[step.wwid] is None:
        kernel.announced[step.wwid] = ""
    joined = step.wwid in kernel.maps and step.hctl in kernel.maps[step.wwid].paths
    if found[1].holders and not joined:
        text = f"{found[1].node} is in use by {', '.join(found[1].holders)}"
        raise _refused(step, Code.IN_USE, text, hint="stop or detach the user of the disk, then try again")
    kernel.multipathd.known[step.hctl] = step.wwid
    kernel.join_map(found[1])


def _leave(kernel: Kernel, step: LeaveMap) -> None:
    found = kernel.map_of(step.wwid)
    if found and found.paths == [step.hctl] and found.holders:
        raise _refused(step, Code.IN_USE, f"{step.hctl} is the last path of a map in use")
    if found and step.hctl in found.paths:
        kernel.leave_map(step.hctl)
        kernel.multipathd.known.pop(step.hctl, None)


def _resize(kernel: Kernel, step: ResizeMap) -> None:
    found = kernel.maps.get(step.wwid)
    if found is None:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"there is no map of {step.wwid}")
    devices = [pair[1] for hctl in found.paths if (pair := kernel.device(hctl))]
    if any(device.size != step.size for device in devices):
        raise _refused(step, Code.CONFLICT, f"not every path of {found.node} has {step.size} bytes")
    found.size = step.size


def _remove(kernel: Kernel, step: RemoveMap) -> None:
    found = kernel.map_of(step.wwid)
    if found is None:
        return
    if found.holders:
        text = f"{found.node} is in use by {', '.join(found.holders)}"
        raise _refused(step, Code.IN_USE, text, hint="stop or detach the user of the disk, then try again")
    if any(kernel.is_usable(hctl) for hctl in found.paths):
        simulated_cache.write_out(kernel, step, step.wwid, found.cached)
    elif not step.lost:
        text = f"{found.node} has no usable path: what was written to it cannot be written out now"
        raise _refused(step, Code.TARGET_TIMEOUT, text, hint="bring a path back")
    kernel.drop_map(found)
    kernel.multipathd.listed -= {step.wwid} if step.listed else set()
    kernel.multipathd.listed -= {found.wwid} if found.wwid.startswith(UNPROVED) else set()


def _forget(kernel: Kernel, step: ForgetMap) -> None:
    daemon = kernel.multipathd
    daemon.known = {hctl: wwid for hctl, wwid in daemon.known.items() if wwid != step.wwid or kernel.device(hctl)}
    if step.listed:
        daemon.listed.discard(step.wwid)
    kernel.announced.pop(step.wwid, None)


def publish_map(kernel: Kernel, step: Publish) -> None:
    """Hand out the map of a logical unit, once it has proved itself."""
    found = kernel.maps.get(step.wwid)
    if found is None or found.suspended:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"the map of {step.wwid} is not there, or suspended")
    usable = [pair for hctl in found.paths if (pair := kernel.device(hctl)) and kernel.is_usable(hctl)]
    if not usable:
        raise _refused(step, Code.UNAVAILABLE, f"{found.node} has no usable path")
    if any(step.wwid not in kernel.names(*pair) for pair in usable):
        raise _refused(step, Code.WRONG_DEVICE, f"{found.node} is not {step.wwid}")
    refuse_users(kernel, step, found.node)
    others = names_of(kernel, step.wwid) - {step.name}
    if not step.borrowed:
        found.set_read_only = found.set_read_only if step.read_only and others else step.read_only
        found.owner = step.owner or found.owner
    kernel.unlink_unit(step.wwid)
    kernel.device_links[step.wwid] = found.node
    kernel.links[step.name] = f"{DEVICES}/{step.wwid}"


def refuse_users(kernel: Kernel, step: Publish, at: str) -> None:
    """Refused where anybody uses the unit to whom we did not give it; `at` is what is to be handed out of it."""
    published = names_of(kernel, step.wwid)
    if step.again or published - {step.name} or (step.borrowed and step.read_only):
        return
    users = kernel.users(step.wwid)
    if users and not (published and kernel.device_links.get(step.wwid) == at):
        text = f"{step.wwid} is in use by {', '.join(users)}"
        raise _refused(step, Code.IN_USE, text, hint="stop or detach the user of the disk, then try again")


def names_of(kernel: Kernel, wwid: str) -> set[str]:
    """The attachments that a logical unit is published for."""
    return {name for name, to in kernel.links.items() if to == f"{DEVICES}/{wwid}"}


def see_map(kernel: Kernel, wwid: str, *, holders: bool) -> ScsiMap | None:
    """The map of a logical unit, as it shows."""
    found = kernel.map_of(wwid)
    if found is None:
        return None
    return ScsiMap(
        uuid=f"mpath-{found.wwid if found.wwid.startswith(UNPROVED) else 3}{found.wwid.partition('.')[2]}",
        node=found.node,
        suspended=found.suspended,
        size=found.size,
        read_only=_is_read_only(kernel, found),
        queueing=found.queueing,
        opens=len(found.holders),
        paths=tuple(_path(kernel, hctl) for hctl in found.paths),
        holders=tuple(found.holders) if holders else None,
    )


def _is_read_only(kernel: Kernel, found: Map) -> bool:
    devices = [pair[1] for hctl in found.paths if (pair := kernel.device(hctl))]
    return found.set_read_only or any(device.read_only for device in devices)


def _path(kernel: Kernel, hctl: str) -> MapPath:
    found = kernel.device(hctl)
    if found is None:
        return MapPath("", "", usable=False, size=0)
    names = kernel.names(*found)
    return MapPath(hctl, found[1].node or "", kernel.is_usable(hctl), found[1].size, names)


def notes_of(kernel: Kernel, wwid: str) -> MapNotes | None:
    """What is written down of a map of that logical unit."""
    told, listed = wwid in kernel.announced, wwid in kernel.multipathd.listed
    return MapNotes(told, listed) if told or listed else None


def _refused(step: MapStep | Publish, code: Code, text: str, *, hint: str = "") -> Problem:
    return Problem(code, text, hint=hint, step=step.describe())
