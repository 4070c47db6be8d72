"""A host: oneadmin may call the daemon, the daemon gives its devices to oneadmin; nothing in sudoers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cdmi_one.failure import Failure
from cdmi_one.setup.changes import Change, Command, File
from cdmi_one.setup.places import Places, first_group, group_of
from cdmi_one.setup.record import read

GROUP = "cdmi-attach"
FILE = "50-opennebula.toml"
ADDED = "# opennebula/install has made it a member: "
_OWNER = re.compile(r"^\s*(?:attach\s*\.\s*)?device_owner\s*=", re.MULTILINE)
_GROUP = re.compile(r"""^\s*\[socket\][^\[]*?^\s*group\s*=\s*["'](?P<name>[^"']+)["']""", re.MULTILINE | re.DOTALL)


def installed(places: Places) -> list[Change]:
    """What makes a host one whose daemon serves OpenNebula. Raises `Failure`."""
    if not places.daemon.is_dir():
        raise Failure(f"{places.daemon} is not there", "install cdmi-attach first: make install")
    group, file = _group(places), _file(places)
    members = group_of(places.root / "etc" / "group", group)
    if members is None:
        raise Failure(f"there is no group {group}", "install cdmi-attach first, or correct [socket] group")
    note = ADDED in (read(file) if file.exists() else "")
    wanted: list[Change] = []
    if places.owner not in members and first_group(places.owner) != group:
        note = True
        wanted.append(Command(("usermod", "-aG", group, places.owner)))
    return [File(file, _text(places, group, added=note).encode()), *wanted]


def removed(places: Places) -> list[Change]:
    """The way back: a membership that was there before stays."""
    file = _file(places)
    if not file.exists():
        return []
    line = next((line for line in read(file).splitlines() if line.startswith(ADDED)), "")
    user, _, group = line.removeprefix(ADDED).partition(" in ") if line else ("", "", "")
    members = group_of(places.root / "etc" / "group", group) if group else None
    leaves: list[Change] = [Command(("gpasswd", "-d", user, group))] if members and user in members else []
    return [*leaves, File(file)]


def next_steps(places: Places) -> list[str]:
    """What is left to do, by whoever installs it."""
    steps = [
        "have the daemon read it: systemctl reload cdmi-attachd",
        f"{places.owner} is of the group in new logins only: end its ssh connections that stand, on the front-end",
        "see what is missing: cdmi-attach doctor",
    ]
    for file, aliases in no_longer_needed(places.root / "etc" / "sudoers.d"):
        for name, commands in aliases:
            steps.append(f"{file}: no cdmi disk needs {name} ({', '.join(commands)})")
    if len(steps) > 3:
        steps.append(
            "what sudoers says there can go where no other storage driver is in use; nothing was changed in it"
        )
    return steps


def _group(places: Places) -> str:
    for path in (*sorted((places.daemon / "conf.d").glob("*.toml"), reverse=True), places.daemon / "config.toml"):
        if path.name != FILE and path.exists() and (match := _GROUP.search(read(path))):
            return match["name"]
    return GROUP


def _file(places: Places) -> Path:
    return places.daemon / "conf.d" / FILE


def _text(places: Places, group: str, *, added: bool) -> str:
    """Root's alone, as the helper insists; what somebody has set elsewhere counts."""
    where = _set_elsewhere(places)
    owner = f"{places.owner}:{first_group(places.owner)}"
    said = f"# device_owner is set in {where.name}." if where else f'[attach]\ndevice_owner = "{owner}"'
    lines = ["# Of opennebula/install: QEMU runs as this user, and opens the disks by itself.", said]
    lines += [f"{ADDED}{places.owner} in {group}"] if added else []
    return "\n".join(lines) + "\n"


def _set_elsewhere(places: Places) -> Path | None:
    for path in (places.daemon / "config.toml", *sorted((places.daemon / "conf.d").glob("*.toml"))):
        if path.name != FILE and path.exists() and _OWNER.search(read(path)):
            return path
    return None


STORAGE = frozenset(
    {
        *("mount", "umount", "tee", "find", "sync", "blockdev", "dmsetup", "kpartx"),
        *("iscsiadm", "multipath", "multipathd", "rescan-scsi-bus.sh", "rbd", "ceph"),
        *("lvs", "lvscan", "lvcreate", "lvremove", "lvresize", "lvextend", "lvchange", "lvconvert", "lvrename"),
        *("vgs", "vgscan", "vgdisplay", "vgchange", "pvs", "pvscan"),
    }
)
"""Programs that storage drivers of OpenNebula are let run as root, by their names."""
_ALIAS = re.compile(r"^\s*Cmnd_Alias\s+(?P<name>\w+)\s*=\s*(?P<commands>(?:[^\n\\]|\\\n|\\.)*)", re.MULTILINE)


def no_longer_needed(folder: Path) -> Iterator[tuple[Path, list[tuple[str, list[str]]]]]:
    """The aliases of OpenNebula's sudoers files all of whose commands are of storage, by their files."""
    for path in sorted(folder.glob("opennebula*")) if folder.is_dir() else ():
        found = []
        for match in _ALIAS.finditer(read(path)):
            commands = [
                Path(one.split()[0]).name for one in match["commands"].replace("\\\n", " ").split(",") if one.split()
            ]
            if commands and set(commands) <= STORAGE:
                found.append((match["name"], commands))
        if found:
            yield path, found
