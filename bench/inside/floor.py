"""The floor: what the kernel and iscsid ask for, and no more. No grant, no ledger, no udev, no safety."""

import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.inside.lun import Lun
from bench.inside.serve import serve

SETTINGS = {"node.startup": "manual", "node.session.scan": "manual"}
NETLINK_KOBJECT_UEVENT, KERNEL = 15, 1
SG_IO, SG_DXFER_FROM_DEV = 0x2285, -3
INQUIRY_83 = struct.pack(">BBBHB", 0x12, 1, 0x83, 252, 0)
SG_IO_HDR = "iiBBHIPPPIIiPBBBBHHiII"
TIMEOUT_MS = 5000
WAIT_S = 60.0
SESSIONS, CONNECTIONS = Path("/sys/class/iscsi_session"), Path("/sys/class/iscsi_connection")


class Floor:
    """The operations in a row, with nothing between them. `paths`: how many of the portals it logs in to."""

    def __init__(self, *, paths: int) -> None:
        self._paths = paths
        self._disks: dict[str, list[tuple[str, str]]] = {}
        self._records = threading.Lock()

    def attach(self, lun: Lun) -> str:
        portals = lun.portals[-self._paths :]  # where one is dead it is told which: others have to find out
        with ThreadPoolExecutor(len(portals)) as pool:
            found = list(pool.map(lambda portal: self._path(lun, portal), portals))
        self._disks[lun.name] = [(portal, hctl) for portal, (_, hctl) in zip(portals, found, strict=True)]
        return found[0][0]

    def _path(self, lun: Lun, portal: str) -> tuple[str, str]:
        """One way to the LUN: its node and its address."""
        _, host = session_of(lun.target, portal)
        if not host:
            record = ("-m", "node", "-T", lun.target, "-p", portal)
            self._write(*record, "-o", "new")
            pairs = [word for name, value in SETTINGS.items() for word in ("-n", name, "-v", value)]
            self._write(*record, "-o", "update", *pairs)
            iscsiadm(*record, "--login")
            _, host = session_of(lun.target, portal)
            assert host, lun.target
        hctl = f"{host}:0:0:{lun.number}"
        node = scan(hctl, lun.wwid)
        return node, hctl

    def detach(self, lun: Lun) -> None:
        gone = self._disks.pop(lun.name)
        used = {hctl.split(":")[0] for disks in self._disks.values() for _, hctl in disks}
        with ThreadPoolExecutor(len(gone)) as pool:
            list(pool.map(lambda disk: self._remove(lun, *disk, last=disk[1].split(":")[0] not in used), gone))

    def _remove(self, lun: Lun, portal: str, hctl: str, *, last: bool) -> None:
        remove(hctl)
        if last:
            iscsiadm("-m", "session", "-r", session_of(lun.target, portal)[0], "--logout")
            self._write("-m", "node", "-T", lun.target, "-p", portal, "-o", "delete")

    def _write(self, *words: str) -> None:
        """One writer of records at a time: iscsiadm walks them all, and stumbles over one that goes meanwhile."""
        with self._records:
            iscsiadm(*words)


def iscsiadm(*words: str) -> None:
    """One process. Raises `CalledProcessError`."""
    subprocess.run(["/usr/sbin/iscsiadm", *words], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def session_of(target: str, portal: str) -> tuple[str, str]:
    """The numbers of the session to a target at a portal and of its SCSI host, by sysfs; empty where there is none."""
    for session in SESSIONS.iterdir() if SESSIONS.is_dir() else ():
        try:
            if (session / "targetname").read_text().strip() != target:
                continue
            connection = CONNECTIONS / f"{session.name.replace('session', 'connection')}:0"
            if (connection / "persistent_address").read_text().strip() != portal.rpartition(":")[0]:
                continue
            found = re.search(r"/host(\d+)/session(\d+)/", str(session.resolve()))
            return (found[2], found[1]) if found else ("", "")
        except OSError:
            continue  # it went while we looked
    return "", ""


def scan(hctl: str, wwid: str) -> str:
    """Look at one address, wait for the kernel's own event, ask the disk who it is. Returns the node."""
    host, channel, target, lun = hctl.split(":")
    with closing(uevents()) as events:
        Path(f"/sys/class/scsi_host/host{host}/scan").write_text(f"{channel} {target} {lun}")
        node = block_device(events, hctl)
    assert wwid.removeprefix("naa.") in inquiry(node).hex(), f"{node} is not {wwid}"
    return node


def remove(hctl: str) -> None:
    """Have the kernel forget a disk, and wait until it has."""
    with closing(uevents()) as events:
        Path(f"/sys/bus/scsi/devices/{hctl}/delete").write_text("1")
        until(events, lambda: not Path(f"/sys/bus/scsi/devices/{hctl}").exists())


def uevents() -> socket.socket:
    """The kernel's own events, before udev has them."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT)
    events.bind((0, KERNEL))
    return events


def block_device(events: socket.socket, hctl: str) -> str:
    """The node that the kernel announces for an address."""
    added = re.compile(rb"^add@/devices/.*/" + hctl.encode() + rb"/block/([a-z]+)\0")
    deadline = time.monotonic() + WAIT_S
    while select.select([events], [], [], deadline - time.monotonic())[0]:
        if found := added.match(events.recv(65536)):
            return f"/dev/{found[1].decode()}"
    raise TimeoutError(f"no block device at {hctl}")


def until(events: socket.socket, reached: Any) -> None:
    """Look again at each event."""
    deadline = time.monotonic() + WAIT_S
    while not reached():
        if not select.select([events], [], [], deadline - time.monotonic())[0]:
            raise TimeoutError("the device stays")
        events.recv(65536)


def inquiry(node: str) -> bytes:
    """Page 0x83 as the device answers it (struct sg_io_hdr, include/scsi/sg.h)."""
    command, page, sense = (
        ctypes.create_string_buffer(part, len(part)) for part in (INQUIRY_83, bytes(252), bytes(32))
    )
    places = [ctypes.addressof(part) for part in (page, command, sense)]
    sizes = (len(INQUIRY_83), len(sense), 0, len(page))
    header = bytearray(struct.pack(SG_IO_HDR, ord("S"), SG_DXFER_FROM_DEV, *sizes, *places, TIMEOUT_MS, *bytes(12)))
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, SG_IO, header)
    finally:
        os.close(fd)
    return page.raw


def make(options: Mapping[str, Any]) -> Floor:
    return Floor(paths=options.get("paths", 1))


if __name__ == "__main__":
    serve(make)
