"""Where an NFS export is mounted on a host, and what the disk made of a file in it is called. Pure."""

import hashlib
import ipaddress
from dataclasses import dataclass

from attachers import checks, nfs_checks

MOUNTS = "/run/cdmi-attach/mnt"
KIND = "nfs4"
"""The file system's name in the mount table; nothing else is ever mounted."""
BLOCK = 512
_MINORS = {"4": ("4.2", "4.1", "4.0"), "4.2": ("4.2",), "4.1": ("4.1",)}
_LOWER = {"4": (), "4.2": ("4.1", "4.0"), "4.1": ("4.0",)}
_LIO_COMPANY = "naa.6001405"  # drivers/target/target_core_spc.c (spc_gen_naa_6h_vendor_specific)


@dataclass(frozen=True, slots=True)
class Share:
    """One export of one server, by its address: mounted once on a host, for all that need it.

    `version` is what the export says: 4 (any minor version), 4.1 or 4.2.
    """

    server: str
    export: str
    version: str

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.server)
        except ValueError:
            raise checks.refuse("server", self.server, "an IP address: names are resolved once") from None
        if nfs_checks.server(self.server) != self.server:
            raise checks.refuse("server", self.server, f"in canonical form ({nfs_checks.server(self.server)})")
        if nfs_checks.export(self.export) != self.export:
            raise checks.refuse("export", self.export, "without a slash at its end")
        nfs_checks.version(self.version)

    @classmethod
    def of(cls, source: str, version: str) -> "Share":
        """The share of that `source`. Raises `Problem` where it is none."""
        server, _, export = source.partition("]:" if source.startswith("[") else ":")
        return cls(server.removeprefix("["), export, version)

    @property
    def source(self) -> str:
        """What is mounted, as the mount table has it."""
        return f"[{self.server}]:{self.export}" if ":" in self.server else f"{self.server}:{self.export}"

    @property
    def point(self) -> str:
        """Where it is mounted: a name of our own, so that no name from outside becomes a directory here."""
        return f"{MOUNTS}/{hashlib.sha256(f'{self.source} {self.version}'.encode()).hexdigest()[:20]}"

    def file(self, path: str) -> str:
        """The absolute path of a file below the export, on this host."""
        return f"{self.point}/{path}"

    def minors(self, *, downgrade: bool) -> tuple[str, ...]:
        """The versions to mount it with, the best first; with `downgrade` also lower ones than the export says."""
        return _MINORS[self.version] + (_LOWER[self.version] if downgrade else ())


@dataclass(frozen=True, slots=True)
class FileId:
    """Which file of a server it is, whatever its name: `fsid` as /proc/fs/nfsfs/volumes has it, and its `number`.

    (The attributes fsid and fileid, RFC 8881 sections 5.8.1.9 and 5.8.2.14: no two files that are there at one time
    have both in common.)
    """

    fsid: str
    number: int

    def __str__(self) -> str:
        return f"file {self.number} of file system {self.fsid or '(not told)'}"


def serial_of(object_id: str) -> str:
    """The unit serial of the disk made of an object's file: 25 hex digits, always the same for the same object."""
    return hashlib.sha256(object_id.encode()).hexdigest()[:25]


def wwid_of(object_id: str) -> str:
    """The logical unit name that LIO makes of that serial."""
    return f"{_LIO_COMPANY}{serial_of(object_id)}"


def serial_in(wwid: str, *, field: str = "wwid") -> str:
    """The unit serial in a logical unit name that LIO made. Raises `Problem` for another one."""
    serial = checks.wwid(wwid, field=field).removeprefix(_LIO_COMPANY)
    if len(serial) != 25:
        raise checks.refuse(field, wwid, f"a logical unit name that begins with {_LIO_COMPANY}")
    return serial
