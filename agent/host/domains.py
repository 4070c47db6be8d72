"""The domains of libvirt: their live disks, and hot-plugging a published one. The functions run in workers.

Whether a disk is there is read in the live XML, before and after: libvirt's own answers come early or not at all.
"""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from agent.host import blocks
from agent.host.roots import Roots
from attachers.disk_xml import disk_xml
from attachers.problems import Code, Problem
from attachers.sights import DomainDisk
from attachers.steps import DEVICES, LINKS

URI = "qemu:///system"
RUNNING = 1
"""VIR_DOMAIN_RUNNING. While its memory comes from another host a domain is paused (qemuMigrationDstPrepareActive)."""
_SOCKETS = ("libvirt/virtqemud-sock", "libvirt/libvirt-sock")


def missing(roots: Roots) -> str:
    """Why libvirt cannot be used on this host; empty when it can. Imports and connects nothing."""
    if importlib.util.find_spec("libvirt") is None:
        return "python3-libvirt is not installed"
    if not any((roots.run / name).exists() for name in _SOCKETS):
        return "libvirt does not listen: systemctl start virtqemud.socket or libvirtd.socket"
    return ""


def disks_of(xml: str) -> tuple[DomainDisk, ...]:
    """The disks in a domain's live XML: place and source (the device or file; empty where there is none)."""
    disks = []
    for disk in ElementTree.fromstring(xml).iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        found = next((source.get(k) for k in ("dev", "file") if source.get(k)), None) if source is not None else None
        if target is not None and target.get("dev"):
            disks.append(DomainDisk(target.get("dev") or "", found or ""))
    return tuple(disks)


def find_domain(domain: str) -> dict[str, Any]:
    """A domain as the JSON of `DomainSight`."""
    with _domain(domain) as found:
        if found is None:
            return {"exists": False, "active": False, "runs": False, "disks": []}
        active = bool(found.isActive())
        disks = disks_of(found.XMLDesc(0)) if active else ()
        runs = active and found.state()[0] == RUNNING
        return {"exists": True, "active": active, "runs": runs, "disks": [[disk.target, disk.source] for disk in disks]}


def give_disk(
    name: str, domain: str, target: str, bus: str, read_only: bool, kind: str, unit: dict[str, str] | None
) -> None:
    """Hot-plug the disk, or by `kind` the file, of an attachment; nothing to do where it is.

    `unit` is the disk's own link (`node`) and what it has to answer to an INQUIRY (`wwid`), None for a file. It is held
    open meanwhile, so that its kernel name cannot become another disk's before libvirt has opened it.
    Raises `Problem`: not-found, conflict, wrong-device, ...
    """
    with _running(domain) as found, _proved(unit):
        taken = _source_at(found, target)
        if taken == f"{LINKS}/{name}":
            return
        if taken is not None:
            detail = f"domain {domain} has another disk at {target}: {taken or 'an empty drive'}"
            raise Problem(Code.CONFLICT, detail, hint="ask for another target, such as sdb")
        found.attachDeviceFlags(disk_xml(name, target, bus, read_only=read_only, kind=kind), _live())


@contextmanager
def _proved(unit: dict[str, str] | None) -> Iterator[None]:
    if unit is None:
        yield
        return
    try:
        with blocks.identified(unit["node"], unit["wwid"], 0):
            yield
    except FileNotFoundError:
        text = f"{unit['node']} leads to no disk"
        raise Problem(Code.DEVICE_TIMEOUT, text, hint="see its attachment's paths, and attach it again") from None


def take_disk(name: str, domain: str, target: str, wait_s: float) -> bool:
    """Hot-unplug the disk of an attachment, and wait until the guest has let it go; whether it has.

    Nothing to do where the domain is not, does not run, or has no such disk. Only a disk whose source is the
    attachment's link is taken away.
    """
    end = time.monotonic() + wait_s
    with _domain(domain) as found:
        if found is None or not found.isActive() or _source_at(found, target) != f"{LINKS}/{name}":
            return True
        with _removals(found, wait_s) as next_event:
            _detach(found, target)
            while _source_at(found, target) == f"{LINKS}/{name}":
                if time.monotonic() >= end:
                    return False
                next_event()
        return True


def resize_disk(name: str, domain: str, target: str, size: int) -> None:
    """Tell a running domain the size of the disk of an attachment, which has it already (virDomainBlockResize).

    Nothing to do where the domain does not run or has no such disk. Raises `Problem` where it does not take it.
    """
    with _domain(domain) as found:
        if found is None or not found.isActive() or _source_at(found, target) != f"{LINKS}/{name}":
            return
        import libvirt

        if (larger := _size_of_file(name)) > size:  # QEMU would cut it off there
            detail = f"{target} of domain {domain} has {larger} bytes by now, not {size}: no disk is made smaller"
            raise Problem(Code.CONFLICT, detail, hint="try again")
        found.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        shown = found.blockInfo(target)[0]
        if shown != size:
            detail = f"domain {domain} takes {target} for {shown} bytes, not {size}"
            raise Problem(Code.UNAVAILABLE, detail, hint=f"see: virsh domblkinfo {domain} {target}")


def _size_of_file(name: str) -> int:
    """How large the file is that was handed out itself, as its server says now; 0 for a disk."""
    link = Path(LINKS, name)
    if link.readlink().is_relative_to(DEVICES):
        return 0
    with link.open("rb") as file:
        return os.fstat(file.fileno()).st_size


def _detach(domain: Any, target: str) -> None:
    """Ask the guest to let the disk go; that it has been asked before is no error (qemu: system/qdev-monitor.c)."""
    import libvirt

    try:
        domain.detachDeviceFlags(_xml_at(domain, target), _live())
    except libvirt.libvirtError as error:
        if "in the process of unplug" not in str(error):
            raise


def _source_at(domain: Any, target: str) -> str | None:
    return next((disk.source for disk in disks_of(domain.XMLDesc(0)) if disk.target == target), None)


def _xml_at(domain: Any, target: str) -> str:
    """The disk element as libvirt has it: the surest way to name the disk that is to go."""
    disks = ElementTree.fromstring(domain.XMLDesc(0)).iterfind("devices/disk")
    found = (disk for disk in disks if (place := disk.find("target")) is not None and place.get("dev") == target)
    return ElementTree.tostring(next(found), encoding="unicode")


def _live() -> int:
    import libvirt

    return int(libvirt.VIR_DOMAIN_AFFECT_LIVE)


@contextmanager
def _running(name: str) -> Iterator[Any]:
    with _domain(name) as found:
        if found is None:
            raise Problem(Code.NOT_FOUND, f"libvirt knows no domain {name}", hint="see `virsh list --all`")
        if not found.isActive():
            raise Problem(Code.CONFLICT, f"domain {name} is not running", hint="start it first")
        yield found


@contextmanager
def _domain(name: str) -> Iterator[Any]:
    """The domain of that name, or None. What libvirt refuses becomes a `Problem`."""
    try:
        import libvirt
    except ImportError:
        raise Problem(
            Code.UNSUPPORTED_ON_HOST, "python3-libvirt is not installed", hint="install python3-libvirt"
        ) from None
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised: not printed as well
    libvirt.virEventRegisterDefaultImpl()
    try:
        connection = libvirt.open(URI)
    except libvirt.libvirtError as error:
        hint = "systemctl start virtqemud.socket or libvirtd.socket"
        raise Problem(Code.UNAVAILABLE, f"libvirt: {error}", hint=hint) from None
    try:
        yield _lookup(libvirt, connection, name)
    except libvirt.libvirtError as error:
        raise Problem(Code.UNAVAILABLE, f"libvirt: {error}", hint="see libvirt's log") from None
    finally:
        connection.close()


def _lookup(libvirt: Any, connection: Any, name: str) -> Any:
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


@contextmanager
def _removals(domain: Any, wait_s: float) -> Iterator[Any]:
    """A function that waits for the next event of this domain's devices, or for the end of `wait_s`."""
    import libvirt

    connection = domain.connect()
    kind = libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
    event = connection.domainEventRegisterAny(domain, kind, lambda *_: None, None)
    timer = libvirt.virEventAddTimeout(int(wait_s * 1000), lambda *_: None, None)
    try:
        yield libvirt.virEventRunDefaultImpl
    finally:
        libvirt.virEventRemoveTimeout(timer)
        connection.domainEventDeregisterAny(event)
