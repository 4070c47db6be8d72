"""NFS in a simulated host: what a share, a file and the disk made of it look like, and what the steps do."""

from dataclasses import replace
from math import inf

from agent.host import simulated_cache
from agent.host.simulated_kernel import Device, Kernel
from agent.host.simulated_shares import LOOPBACK, VERSIONS, FileDisk
from attachers import nfs_options, sights
from attachers.nfs_share import KIND, Share
from attachers.problems import Code, Problem
from attachers.sights import NfsFile, NfsQuery, NfsSight, Opening, RouteSight, ScsiSight, Trouble
from attachers.steps import DEVICES, GrowDisk, MakeDisk, Mount, PublishFile, RemoveDisk, Step, Unmount, WriteOutFile

ShareStep = Mount | Unmount | MakeDisk | GrowDisk | RemoveDisk | WriteOutFile | PublishFile

# Looking.


def see(kernel: Kernel, query: NfsQuery, running: tuple[Step, ...]) -> NfsSight:
    """Answer a query."""
    disk = kernel.shares.disks.get(query.wwid or "")
    devices = list(kernel.nexuses[query.wwid or ""].devices.values()) if disk else []
    link = kernel.links.get(query.name)
    linked = kernel.device(kernel.device_links.get(query.wwid or "", ""))
    scsi = ScsiSight(
        paths=tuple(_path(query, device) for device in devices),
        link=link,
        device_link=linked[1].node if linked else None,
        owner=linked[1].owner if linked else "",
        busy=tuple(step.describe() for step in running if _touches(step, query)),
        users=tuple(kernel.users(query.wwid or "")) if query.holders else None,
        dirty=(query.wwid or query.unit or "") in kernel.unwritten,
    )
    shown = sights.FileDisk(disk.share.file(disk.path), disk.inode, disk.size, bool(devices)) if disk else None
    return NfsSight(kernel.shares.at(query.share.point), _file_of(kernel, query), shown, scsi)


def _path(query: NfsQuery, device: Device) -> sights.ScsiPath:
    return sights.ScsiPath(
        hctl=device.hctl,
        via=query.share.source,
        node=device.node,
        state="running",
        size=device.size if device.node else 0,
        read_only=device.set_read_only,
        sysfs_wwid=device.wwid,
        designators=frozenset({device.wwid}),
        holders=tuple(device.holders) if query.holders else None,
    )


def _touches(step: Step, query: NfsQuery) -> bool:
    of_share = isinstance(step, Mount | Unmount) and step.share == query.share
    unit = query.wwid or query.unit
    return of_share or getattr(step, "name", None) == query.name or getattr(step, "wwid", "") == unit


def _file_of(kernel: Kernel, query: NfsQuery) -> NfsFile | None:
    mounts = kernel.shares.at(query.share.point)
    if not query.path or [(one.source, one.kind) for one in mounts] != [(query.share.source, KIND)]:
        return None
    disks = kernel.shares.disks.items()
    made = (wwid for wwid, disk in disks if (disk.share, disk.path) == (query.share, query.path) and wwid != query.wwid)
    place = query.share.file(query.path)
    users = [*kernel.shares.open.get(place, ()), *kernel.shares.elsewhere.get(place, ())]
    users += [f"LIO backstore of {wwid}" for wwid in made]
    writers = [user for user in users if user not in kernel.shares.readers]
    file = find(kernel, query.share, query.path)
    opening = _opening(kernel, query.share, query.open_for) if query.open_for and not file.trouble else file.opening
    file = replace(file, opening=opening)
    return replace(file, holders=tuple(users), writers=tuple(writers)) if query.holders else file


def _opening(kernel: Kernel, share: Share, open_for: str) -> Opening:
    """What comes of root's opening a file of the share."""
    servers = kernel.san.nfs
    if open_for == "rw" and (share.source in servers.read_only or not _may(kernel, share, "rw")):
        return Opening.READ_ONLY
    squashed = share.source in servers.squashed or not _may(kernel, share, "root")
    return Opening.DENIED if squashed else Opening.DONE


def _may(kernel: Kernel, share: Share, right: str) -> bool:
    """Whether the server lets this host (ro: mount, rw: write, root: be root)."""
    allowed = kernel.san.nfs.allowed.get(share.source)
    return allowed is None or kernel.shares.address in allowed[right]


def route(kernel: Kernel, server: str) -> RouteSight:
    """By which address this host reaches a server."""
    if server in kernel.san.nfs.unreached:
        raise Problem(Code.TARGET_TIMEOUT, f"this host has no route to {server}", hint=f"see: ip route get {server}")
    return RouteSight(kernel.shares.address, "lo")


def find(kernel: Kernel, share: Share, path: str) -> NfsFile:
    """What the server shows of a file."""
    servers = kernel.san.nfs
    if share.server in servers.dead:
        return NfsFile(trouble=Trouble.SILENT, words="no answer from the server")
    if share.source in servers.stale:
        return NfsFile(trouble=Trouble.STALE, words="is stale")
    file = servers.exports.get(share.source, {}).get(path)
    if file is None:
        return NfsFile(trouble=Trouble.MISSING, words="is not there")
    if file.odd:
        return NfsFile(trouble=Trouble.ODD, words=file.odd)
    return NfsFile(file.size, file.inode, fsid=servers.fsids.get(share.source, "1f:0"))


# The steps.


def delay_of(kernel: Kernel, step: Step) -> float:
    """How long a step on a dead server takes to be broken off; what writes out is not, and waits for the server."""
    match step:
        case Mount(share=share) | MakeDisk(share=share) | GrowDisk(share=share) if share.server in kernel.san.nfs.dead:
            return kernel.shares.patience_s
        case RemoveDisk(share, wwid, lost=False) if share.server in kernel.san.nfs.dead and wwid in kernel.nexuses:
            devices = kernel.nexuses[wwid].devices.values()
            return inf if any(device.cached and not device.holders for device in devices) else 0.0
        case WriteOutFile(share, path, lost=False) if share.server in kernel.san.nfs.dead:
            return inf if share.file(path) in kernel.shares.cached else 0.0
    return 0.0


def take(kernel: Kernel, step: ShareStep) -> None:
    """Change the host as the step says. Raises `Problem` where it is refused."""
    match step:
        case Mount():
            _mount(kernel, step)
        case Unmount():
            _unmount(kernel, step)
        case MakeDisk():
            _make(kernel, step)
        case GrowDisk():
            _grow(kernel, step)
        case RemoveDisk():
            _remove(kernel, step)
        case WriteOutFile():
            _write_out_file(kernel, step)
        case PublishFile():
            _insist_on(_found(kernel, step, step.path), step)
            kernel.links[step.name] = step.share.file(step.path)


def _mount(kernel: Kernel, step: Mount) -> None:
    share, servers = step.share, kernel.san.nfs
    if kernel.shares.at(share.point):
        return
    _insist_on_life(kernel, step, share)
    if share.source not in servers.exports:
        raise _refused(step, Code.TARGET_REFUSED, f"{share.source}: the server exports no such path")
    if not _may(kernel, share, "ro"):
        raise _refused(step, Code.TARGET_REFUSED, f"{share.source}: Permission denied")
    spoken = servers.versions.get(share.server, VERSIONS)
    version = next((one for one in share.minors(downgrade=step.downgrade) if one in spoken), None)
    if version is None:
        raise _refused(step, Code.TARGET_REFUSED, f"{share.source}: the server does not speak NFS {share.version}")
    servers.stale.discard(share.source)
    words = ",".join(nfs_options.parse(step.options).words)
    options = f"rw,{','.join(nfs_options.ALWAYS)},vers={version},{words}"
    kernel.shares.add(share.point, share.source, options=options)


def _unmount(kernel: Kernel, step: Unmount) -> None:
    share = step.share
    mounts = kernel.shares.at(share.point)
    if not mounts:
        return
    if len(mounts) > 1:
        raise _refused(step, Code.CONFLICT, f"{mounts[-1].source} is mounted over {share.source}")
    used = any(place.startswith(f"{share.point}/") and users for place, users in kernel.shares.open.items())
    if used or any(disk.share == share for disk in kernel.shares.disks.values()):
        raise _refused(step, Code.IN_USE, f"something on this host uses the mount of {share.source}")
    for place in [place for place in kernel.shares.cached if place.startswith(f"{share.point}/")]:
        wwid, cached = kernel.shares.cached.pop(place)
        if not kernel.san.failing.get(wwid):  # an error is told to nobody
            kernel.san.stored.setdefault(wwid, []).extend(cached)
    kernel.shares.drop(share.point)


def _write_out_file(kernel: Kernel, step: WriteOutFile) -> None:
    _insist_on(_found(kernel, step, step.path), step)
    if not _may(kernel, step.share, "root") or step.share.source in kernel.san.nfs.squashed:
        return
    _, cached = kernel.shares.cached.pop(step.share.file(step.path), ("", []))
    simulated_cache.write_out(kernel, step, step.wwid, cached)


def _make(kernel: Kernel, step: MakeDisk) -> None:
    disk = kernel.shares.disks.get(step.wwid)
    if disk is None:
        if step.wwid in kernel.maps or any(device.wwid == step.wwid for _, device in kernel.devices()):
            raise _refused(step, Code.CONFLICT, f"a disk of this host is {step.wwid} already")
        file = _found(kernel, step, step.path)
        if (opening := _opening(kernel, step.share, "rw")) is not Opening.DONE:
            raise _refused(step, Code.TARGET_REFUSED, f"{step.path} cannot be opened for writing: {opening}")
        _insist_on(file, step)
        if file.size != step.size:
            raise _refused(step, Code.WRONG_DEVICE, f"{step.path} has {file.size} bytes now")
        kernel.nexuses[step.wwid] = kernel.new_nexus(LOOPBACK, step.share.source)
        disk = kernel.shares.disks[step.wwid] = FileDisk(step.share, step.path, file.inode, step.size, step.discard)
    nexus = kernel.nexuses[step.wwid]
    if not nexus.devices:
        hctl = f"{nexus.host}:0:1:0"
        kernel.claims.add(hctl)
        kernel.put_device(nexus, hctl, wwid=step.wwid, size=disk.size)


def _grow(kernel: Kernel, step: GrowDisk) -> None:
    disk = kernel.shares.disks.get(step.wwid)
    if disk is None or not kernel.nexuses[step.wwid].devices:
        raise _refused(step, Code.UNAVAILABLE, f"LIO has no disk {step.wwid}")
    if step.size < disk.size:
        raise _refused(step, Code.CONFLICT, f"the disk {step.wwid} has {disk.size} bytes, and is not made smaller")
    file = _found(kernel, step, step.path)
    if file.inode != disk.inode:
        raise _refused(step, Code.WRONG_DEVICE, f"{step.path} is another file than the disk was made of")
    if file.size < step.size:
        raise _refused(step, Code.DEVICE_TIMEOUT, f"{step.path} has {file.size} bytes, not {step.size}")
    disk.size = step.size


def _remove(kernel: Kernel, step: RemoveDisk) -> None:
    nexus = kernel.nexuses.get(step.wwid)
    if nexus is None:
        return
    for device in list(nexus.devices.values()):
        if device.holders:
            text = f"{device.node or device.hctl} is in use by {', '.join(device.holders)}"
            raise _refused(step, Code.IN_USE, text, hint="stop or detach the user of the disk, then try again")
        _write_out(kernel, step, device)
        kernel.drop_device(nexus, device.hctl)
    del kernel.shares.disks[step.wwid], kernel.nexuses[step.wwid]


def _write_out(kernel: Kernel, step: RemoveDisk, device: Device) -> None:
    """What is cached waits for its server; where nothing is, nobody asks it."""
    if step.share.server not in kernel.san.nfs.dead:
        simulated_cache.write_out(kernel, step, step.wwid, device.cached)
    elif device.cached and not step.lost:
        kernel.unwritten.add(step.wwid)
        raise _refused(step, Code.TARGET_TIMEOUT, f"{step.describe()}: no answer in time")


def _found(kernel: Kernel, step: MakeDisk | GrowDisk | WriteOutFile | PublishFile, path: str) -> NfsFile:
    if [mount.source for mount in kernel.shares.at(step.share.point)] != [step.share.source]:
        raise _refused(step, Code.UNAVAILABLE, f"{step.share.source} is not mounted")
    _insist_on_life(kernel, step, step.share)
    file = find(kernel, step.share, path)
    if file.trouble:
        raise _refused(step, Code.WRONG_DEVICE, f"{path} {file.words}")
    return file


def _insist_on(file: NfsFile, step: MakeDisk | WriteOutFile | PublishFile) -> None:
    if step.pin not in (None, file.id):
        raise _refused(step, Code.WRONG_DEVICE, f"{step.path} is {file.id}, and was {step.pin}")


def _insist_on_life(kernel: Kernel, step: Step, share: Share) -> None:
    if share.server in kernel.san.nfs.dead:
        raise _refused(step, Code.TARGET_TIMEOUT, f"{step.describe()}: no answer in time")


def _refused(step: Step, code: Code, text: str, *, hint: str = "see the NFS server") -> Problem:
    return Problem(code, text, hint=hint, step=step.describe())


def published_file(kernel: Kernel, name: str) -> str | None:
    """The file that an attachment's link leads to; None where it leads to a disk, or nowhere."""
    place = kernel.links.get(name, "")
    return None if place.startswith(DEVICES) else place or None
