"""A host of files: what sysfs, iscsid's database and /run look like, laid into a directory as the kernel lays it."""

import os
from pathlib import Path

from agent.host.roots import Roots

TARGET = "iqn.2003-01.org.cdmi:t1"
PORTAL = "10.0.0.1:3260"
WWID = "naa.6001405335a0af483444653992b78050"


def roots_in(tmp_path: Path) -> Roots:
    """Empty roots, with the directories that every host has."""
    roots = Roots(*(tmp_path / name for name in ("sys", "proc", "dev", "run", "etc", "lib", "modules")))
    for path in (roots.sys, roots.proc, roots.dev, roots.run, roots.etc, roots.lib, roots.modules):
        path.mkdir()
    return roots


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def add_session(
    roots: Roots,
    sid: int = 1,
    *,
    host: int = 6,
    target: str = TARGET,
    address: str = "10.0.0.1",
    port: int = 3260,
    state: str = "LOGGED_IN",
) -> Path:
    """A session as drivers/scsi/scsi_transport_iscsi.c shows it; returns its directory."""
    device = roots.sys / f"devices/platform/host{host}/session{sid}"
    shown = device / f"iscsi_session/session{sid}"
    write(shown / "targetname", target)
    write(shown / "state", state)
    (shown / "device").symlink_to("../../../" + device.name)
    (device / f"target{host}:0:0").mkdir()
    connection = device / f"connection{sid}:0/iscsi_connection/connection{sid}:0"
    for name, value in (("persistent_address", address), ("persistent_port", str(port)), ("address", "10.0.0.1")):
        write(connection / name, value)
    write(connection / "port", "3260")
    link(roots.sys / f"class/iscsi_session/session{sid}", shown)
    link(roots.sys / f"class/iscsi_connection/connection{sid}:0", connection)
    return device


def add_disk(roots: Roots, session: Path, lun: int, node: str | None = "sda", *, wwid: str = WWID) -> str:
    """A SCSI disk below a session; returns its address. Its node is a plain file."""
    hctl = f"{session.parent.name.removeprefix('host')}:0:0:{lun}"
    device = session / f"target{hctl.rpartition(':')[0]}" / hctl
    write(device / "state", "running")
    write(device / "wwid", wwid)
    write(device / f"bsg/{hctl}/dev", f"250:{lun}")
    link(roots.sys / f"class/scsi_device/{hctl}", device / "scsi_device" / hctl)
    (device / "scsi_device" / hctl).mkdir(parents=True)
    (device / "scsi_device" / hctl / "device").symlink_to(device)
    if node:
        block = device / "block" / node
        for name, value in (("size", "131072"), ("ro", "0"), ("dev", f"8:{16 * lun}")):
            write(block / name, value)
        write(block / f"{node}1/dev", f"8:{16 * lun + 1}")
        (block / "device").symlink_to(f"../../../{hctl}")
        link(roots.sys / f"block/{node}", block)
        (roots.dev / node).touch()
    return hctl


def link(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent))
