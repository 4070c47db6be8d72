"""Where OpenNebula keeps its things: as its packages do, or all below one directory (`ONE_LOCATION`)."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from cdmi_one.failure import Failure


@dataclass(frozen=True)
class Owner:
    """A user and its first group, by numbers."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Places:
    """`etc` is /etc/one or its like, `remotes` /var/lib/one/remotes; `root` stands before what is the system's.

    `owner` runs OpenNebula; `source` is the folder `opennebula` of the sources.
    """

    source: Path
    root: Path
    etc: Path
    remotes: Path
    owner: str

    @property
    def ours(self) -> Path:
        """What an upgrade of OpenNebula never touches: the hook, the templates, the record of what was edited."""
        return self.etc / "cdmi"

    @property
    def conf(self) -> Path:
        """The drivers' own settings: never overwritten."""
        return self.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"

    @property
    def daemon(self) -> Path:
        """The configuration of cdmi-attachd."""
        return self.root / "etc" / "cdmi-attach"


def places_of(source: Path, root: Path, one_location: str, owner: str) -> Places:
    """The places of an installation; `one_location` is empty where OpenNebula came by packages."""
    if one_location:
        home = root / one_location.lstrip("/")
        return Places(source, root, home / "etc", home / "var" / "remotes", owner)
    return Places(source, root, root / "etc" / "one", root / "var" / "lib" / "one" / "remotes", owner)


def owner_of(name: str) -> Owner | None:
    """Whom files are given to; None where we are not root, and they are ours anyway. Raises `Failure`."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise Failure(
            f"there is no user {name}", "install OpenNebula first, or say who runs it: --owner USER"
        ) from None
    return Owner(user.pw_uid, user.pw_gid)


def group_of(path: Path, name: str) -> tuple[str, ...] | None:
    """The members of a group as a group file lists them; None where there is no such group."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) == 4:
            return tuple(member for member in fields[3].split(",") if member)
    return None


def first_group(name: str) -> str:
    """The name of a user's first group; the user's own name where the system does not tell."""
    try:
        return grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
    except KeyError:
        return name
