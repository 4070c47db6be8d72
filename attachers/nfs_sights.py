"""What is asked of a host about an NFS share, and what it saw of mount and file. Part of `attachers.sights`."""

from dataclasses import dataclass
from enum import StrEnum

from attachers import checks, nfs_checks
from attachers.nfs_share import FileId, Share


@dataclass(frozen=True, slots=True)
class NfsQuery:
    """Look at an NFS share on this host, at a file in it, and at the disk that LIO may have made of that file.

    Without a `path` only the mount table is read, and nothing waits for the server. `wwid` is the disk's name (None: no
    disk is looked for), `name` the attachment whose link is looked for, and `holders` asks for the (dearer) search for
    whoever has the file open, or that of `number` (0: none) on its file system, should another one lie there by now.
    `open_for` (ro or rw) asks whether root of this host can open the file so. `unit` is the name by which the bytes of
    a file without a disk are known to be dirty.
    """

    name: str
    share: Share
    path: str = ""
    wwid: str | None = None
    holders: bool = False
    open_for: str = ""
    number: int = 0
    unit: str | None = None

    def __post_init__(self) -> None:
        checks.name(self.name)
        if self.unit is not None:
            checks.wwid(self.unit)
        if self.path:
            nfs_checks.file(self.path)
        if self.wwid is not None:
            checks.wwid(self.wwid)
        if self.open_for not in ("", "ro", "rw"):
            raise checks.refuse("open_for", self.open_for, "ro or rw")


@dataclass(frozen=True, slots=True)
class NfsMount:
    """One mount at a share's mount point: `id`, `source`, `kind` and effective `options` as in /proc/self/mountinfo.

    `ours` when we made it.
    """

    id: int
    source: str
    kind: str
    options: str
    ours: bool = False


class Trouble(StrEnum):
    """Why a file cannot be used: the server is silent, or its handle is stale; it is not there; it is no plain file;
    root of this host may not even look at it.
    """

    NONE = ""
    SILENT = "silent"
    STALE = "stale"
    MISSING = "missing"
    ODD = "odd"
    DENIED = "denied"


class Opening(StrEnum):
    """What came of opening a file: nobody tried; it is open to root; its file system or export is read-only (EROFS);
    root of this host may not (EACCES, EPERM: root_squash).
    """

    UNTRIED = ""
    DONE = "done"
    READ_ONLY = "read-only"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class NfsFile:
    """A file as the server shows it: its size in bytes, its number there and the file system's `fsid`, or the `trouble`
    with it, in `words`.

    `holders` names who has it open on this host, `writers` who of them may write to it; None when that was not asked
    for. Our own disk of the file is none of them. `opening` is what came of it.
    """

    size: int = 0
    inode: int = 0
    trouble: Trouble = Trouble.NONE
    words: str = ""
    holders: tuple[str, ...] | None = None
    fsid: str = ""
    opening: Opening = Opening.UNTRIED
    writers: tuple[str, ...] | None = None

    @property
    def id(self) -> FileId:
        """Which file it is."""
        return FileId(self.fsid, self.inode)


@dataclass(frozen=True, slots=True)
class FileDisk:
    """A disk that LIO makes of a file: which `file` (its path and number when it was made), and its size in bytes.

    `whole` when it is shown on this host as a SCSI disk, and not half made or half taken down; `ours` when we made it.
    """

    file: str
    inode: int
    size: int
    whole: bool
    ours: bool = False
