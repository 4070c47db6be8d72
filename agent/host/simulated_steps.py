"""What each step does to a simulated host: the semantics of attachers/steps.py, word for word."""

from agent.host import simulated_cache, simulated_nfs
from agent.host.simulated_kernel import UNPROVED, Device, Kernel, Map, Session
from agent.host.simulated_maps import names_of, publish_map, refuse_users, take_on_map
from attachers import checks
from attachers.base import MadeByAnotherError
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN
from attachers.steps import (
    DEVICES,
    LINKS,
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    Disown,
    ForgetMap,
    GiveDisk,
    GiveUp,
    GrowDisk,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    MakeDisk,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveDisk,
    RemoveMap,
    Rescan,
    ResizeDisk,
    ResizeMap,
    Scan,
    Step,
    TakeDisk,
    Unmount,
    Unpublish,
    WriteOutFile,
)

OURS = "cdmi-attach"
LOGIN_LIMIT_S = 15.0
"""How long a login to a dead portal takes to fail, as our records say."""
COMMAND_LIMIT_S = 30.0
"""How long a SCSI command to a dead portal takes to fail."""


def delay_of(kernel: Kernel, step: Step) -> float:
    """How long the step takes, in seconds: nothing, unless a portal is dead."""
    match step:
        case Login() if step.portal in kernel.san.dead and not kernel.session(step.target, step.portal):
            return LOGIN_LIMIT_S
        case Scan() if step.portal in kernel.san.dead:
            return COMMAND_LIMIT_S
        case Publish(hctl=hctl) | RemoveDevice(hctl=hctl, wwid=str(), lost=False):
            found = kernel.device(hctl)
            return COMMAND_LIMIT_S if found and found[0].portal in kernel.san.dead else 0.0
        case Mount() | MakeDisk() | GrowDisk() | RemoveDisk() | WriteOutFile():
            return simulated_nfs.delay_of(kernel, step)
    return 0.0


def take(kernel: Kernel, step: Step) -> None:
    """Change the host as the step says. Raises `Problem` where it is refused."""
    match step:
        case CreateRecord():
            kernel.records[step.target, step.portal] = OURS
            kernel.named[step.target, step.portal] = kernel.ifaces.get(step.iface, "")
            kernel.flaws.pop((step.target, step.portal), None)
            kernel.several.pop((step.target, step.portal), None)
        case Login():
            _log_in(kernel, step)
        case Scan():
            _scan(kernel, step)
        case Publish():
            (_publish if step.hctl else publish_map)(kernel, step)
        case AnnounceMap() | JoinMap() | LeaveMap() | ResizeMap() | RemoveMap() | ForgetMap():
            take_on_map(kernel, step)
        case Unpublish():
            kernel.links.pop(step.name, None)
            if step.wwid:
                kernel.unlink_unit(step.wwid)
        case RemoveDevice():
            _remove(kernel, step)
        case GiveUp(wwid):
            kernel.unwritten.discard(wwid)
        case Own():
            pass  # the record says it
        case Disown():
            _disown(kernel, step)
        case Rescan():
            _rescan(kernel, step)
        case Logout():
            _log_out(kernel, step)
        case DeleteRecord():
            _delete_record(kernel, step)
        case Mount() | Unmount() | MakeDisk() | GrowDisk() | RemoveDisk() | WriteOutFile() | PublishFile():
            simulated_nfs.take(kernel, step)
        case GiveDisk():
            _give(kernel, step)
        case ResizeDisk():
            _tell_size(kernel, step)
        case TakeDisk():
            _take_back(kernel, step)


def _log_in(kernel: Kernel, step: Login) -> None:
    if kernel.session(step.target, step.portal):
        raise MadeByAnotherError(step.describe())
    if (step.target, step.portal) not in kernel.records:
        raise _refused(step, Code.UNAVAILABLE, f"iscsid has no record of {step.target} at {step.portal}")
    if step.portal in kernel.san.dead:
        raise _refused(step, Code.TARGET_TIMEOUT, f"{step.portal} did not answer within {LOGIN_LIMIT_S:.0f} s")
    name = kernel.named.get((step.target, step.portal)) or kernel.initiator
    if not kernel.san.shown(name, step.target, step.portal):
        text = f"{step.target} at {step.portal} refused the login of {name}"
        raise _refused(step, Code.TARGET_REFUSED, text, hint="let the server permit this initiator")
    for _ in range(kernel.several.get((step.target, step.portal), 1)):
        kernel.add_session(step.target, step.portal).initiator = name


def _scan(kernel: Kernel, step: Scan) -> None:
    lun = checks.number_at(step.hctl)
    session = kernel.session(step.target, step.portal)
    if session is None or session.at(lun) != step.hctl or session.state != LOGGED_IN:
        text = f"no session to {step.target} at {step.portal} leads to {step.hctl} (now)"
        raise _refused(step, Code.TARGET_TIMEOUT, text)
    if step.hctl in session.devices:
        raise MadeByAnotherError(step.describe())
    kernel.claims.add(step.hctl)
    kernel.expected.pop(step.hctl, None)
    kernel.expected |= {step.hctl: step.wwid} if step.wwid else {}
    if kernel.add_device(session, lun) is None:  # a scan that finds nothing is no failure, as in the kernel
        kernel.claims.discard(step.hctl)


def _publish(kernel: Kernel, step: Publish) -> None:
    device = _verified(kernel, step, step.hctl, step.wwid)
    _insist_on_expected(kernel, step)
    found = kernel.device(step.hctl)
    if found and device.wwid not in kernel.names(*found):
        raise _refused(step, Code.WRONG_DEVICE, f"the kernel still takes {step.hctl} for {device.wwid}")
    refuse_users(kernel, step, step.hctl)
    others = names_of(kernel, step.wwid) - {step.name}
    if not step.borrowed:
        keep = step.read_only and others  # never takes the right to write from another
        device.set_read_only = device.set_read_only if keep else step.read_only
        device.owner = step.owner or device.owner
    kernel.unlink_unit(step.wwid)
    kernel.prove(step.hctl, step.wwid)
    kernel.links[step.name] = f"{DEVICES}/{step.wwid}"


def _insist_on_expected(kernel: Kernel, step: Publish) -> None:
    """A disk whose address was claimed for another unit is not handed out, whatever it says."""
    found = kernel.device(step.hctl)
    expected = kernel.expected.get(step.hctl) if step.hctl in kernel.claims else None
    if found and expected and expected not in kernel.names(*found):
        raise _refused(step, Code.WRONG_DEVICE, f"{step.hctl} was claimed for {expected}")


def _verified(kernel: Kernel, step: Step, hctl: str, wwid: str) -> Device:
    """The device, once its INQUIRY has answered the wanted name."""
    found = kernel.device(hctl)
    if found is None or found[1].node is None:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"there is no block device at {hctl}")
    names = kernel.names(*found)
    if not names:
        raise _refused(step, Code.UNAVAILABLE, f"{hctl} gives no answer")
    if wwid not in names:
        raise _refused(step, Code.WRONG_DEVICE, f"{hctl} is {', '.join(sorted(names))}, not {wwid}")
    return found[1]


def _rescan(kernel: Kernel, step: Rescan) -> None:
    device = _verified(kernel, step, step.hctl, step.wwid)
    found = kernel.device(step.hctl)
    unit = kernel.answer(found[0], device.lun) if found else None
    if unit is None:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"{step.hctl} does not answer")
    if unit.size < device.size:
        text = f"{device.node} ({step.wwid}) has become smaller: {unit.size} bytes, and {device.size} are in use here"
        raise _refused(step, Code.CONFLICT, text, hint="let the server give it its old size back, or detach it first")
    device.size = unit.size


def _remove(kernel: Kernel, step: RemoveDevice) -> None:
    found = kernel.device(step.hctl)
    if found is None:
        kernel.claims.discard(step.hctl)
        return
    session, device = found
    for above in [one for one in kernel.maps.values() if step.hctl in one.paths]:
        raise _refused(
            step, Code.IN_USE, f"{device.node} is in use by device {above.node}", hint="remove the map first"
        )
    if device.holders:
        text = f"{device.node or step.hctl} is in use by {', '.join(device.holders)}"
        raise _refused(step, Code.IN_USE, text, hint="stop or detach the user of the disk, then try again")
    if step.wwid and not (step.lost and step.wwid not in kernel.names(session, device)):
        _verified(kernel, step, step.hctl, step.wwid)
        simulated_cache.write_out(kernel, step, step.wwid, device.cached)
    else:
        device.state = "offline"
    kernel.drop_device(session, step.hctl)
    kernel.multipathd.listed.discard(f"{UNPROVED}{step.hctl}")


def _disown(kernel: Kernel, step: Disown) -> None:
    """The claim of a disk that did not come back."""
    for session in kernel.sessions.values():
        if session.target in step.targets and session.at(step.lun) not in session.devices:
            kernel.claims.discard(session.at(step.lun))


def _log_out(kernel: Kernel, step: Logout) -> None:
    for session in [s for s in _sessions(kernel, step.target, step.portal) if step.sid in (None, s.sid)]:
        if session.devices:
            text = f"the session to {step.target} at {step.portal} carries {', '.join(session.devices)}"
            raise _refused(step, Code.IN_USE, text, hint="detach what uses these devices")
        del kernel.sessions[session.sid]


def _delete_record(kernel: Kernel, step: DeleteRecord) -> None:
    if _sessions(kernel, step.target, step.portal):
        text = f"a session uses the record of {step.target} at {step.portal}"
        raise _refused(step, Code.IN_USE, text, hint="log out first")
    kernel.records.pop((step.target, step.portal), None)
    kernel.named.pop((step.target, step.portal), None)
    kernel.flaws.pop((step.target, step.portal), None)


def _give(kernel: Kernel, step: GiveDisk) -> None:
    domain = kernel.domains.get(step.domain)
    if domain is None or not domain.active:
        raise _refused(step, Code.NOT_FOUND, f"no domain {step.domain} is running on this host")
    source = f"{LINKS}/{step.name}"
    if domain.disks.get(step.target) == source:
        return
    if step.target in domain.disks:
        raise _refused(step, Code.CONFLICT, f"{step.domain} has another disk at {step.target}")
    _users_of(kernel, step).append(f"domain {step.domain}")
    domain.disks[step.target] = source


def _users_of(kernel: Kernel, step: GiveDisk) -> list[str]:
    """Who has open what is published: the domain is one of them from now on."""
    file = simulated_nfs.published_file(kernel, step.name)
    if file and step.kind == "file":
        return kernel.shares.open.setdefault(file, [])
    device = published(kernel, step.name)
    if device is None:
        raise _refused(step, Code.NOT_FOUND, f"{LINKS}/{step.name} leads to no device")
    wwid = kernel.links[step.name].rpartition("/")[2]
    for hctl in device.paths if isinstance(device, Map) else [device.hctl]:
        if not isinstance(device, Map) or kernel.is_usable(hctl):
            _verified(kernel, step, hctl, wwid)
    return device.holders


def _take_back(kernel: Kernel, step: TakeDisk) -> None:
    domain = kernel.domains.get(step.domain)
    if domain is None or not domain.active or step.target not in domain.disks:
        return
    if domain.disks[step.target] != f"{LINKS}/{step.name}":
        raise _refused(step, Code.CONFLICT, f"{step.target} of {step.domain} is another disk")
    del domain.disks[step.target]
    disks = (device.holders for _, device in kernel.devices())
    maps = (one.holders for one in kernel.maps.values())
    for users in [*disks, *maps, *kernel.shares.open.values()]:
        if f"domain {step.domain}" in users:
            users.remove(f"domain {step.domain}")
            return


def _tell_size(kernel: Kernel, step: ResizeDisk) -> None:
    domain = kernel.domains.get(step.domain)
    if domain and domain.active and domain.disks.get(step.target) == f"{LINKS}/{step.name}":
        domain.sizes[step.target] = step.size


def published(kernel: Kernel, name: str) -> Device | Map | None:
    """The device, or the map, that an attachment's link leads to right now."""
    at = kernel.device_links.get(kernel.links.get(name, "").rpartition("/")[2], "")
    found = kernel.device(at)
    return found[1] if found else next((one for one in kernel.maps.values() if one.node == at), None)


def _sessions(kernel: Kernel, target: str, portal: str) -> list[Session]:
    return [s for s in kernel.sessions.values() if (s.target, s.portal) == (target, portal)]


def _refused(step: Step, code: Code, text: str, *, hint: str = "") -> Problem:
    return Problem(code, text, hint=hint, step=step.describe())
