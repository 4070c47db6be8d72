"""The steps from an NFS share to a disk, or a file, and back. Part of `attachers.steps`, where their rules are told."""

from dataclasses import dataclass

from attachers import checks, nfs_checks, nfs_options
from attachers.nfs_share import BLOCK, FileId, Share, serial_in


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount an NFS share at its own place, with the first of its versions that the server speaks.

    `options` are the configured ones; `downgrade` allows for a lower version than the export says.
    """

    share: Share
    options: str
    downgrade: bool = False

    def __post_init__(self) -> None:
        nfs_options.parse(self.options)

    def describe(self) -> str:
        return f"mount {self.share.source}"


@dataclass(frozen=True, slots=True)
class Unmount:
    """Take an NFS share off its place; refused while anything on this host uses it, or where it is not ours alone."""

    share: Share

    def describe(self) -> str:
        return f"unmount {self.share.source}"


@dataclass(frozen=True, slots=True)
class MakeDisk:
    """Have LIO make a SCSI disk of a file in a mounted share: direct, asynchronous I/O behind the loopback fabric.

    `wwid` is the disk's name from then on, `size` in bytes, `discard` whether it takes discards (the server has to be
    able to make holes); its address is claimed (udev rule) before it appears. Nothing is written to the file. Refused
    where the path is no plain file, leads out of the share, or the file has another size, or is not `pin` (None: any),
    and where another disk on this host has that name.
    """

    share: Share
    path: str
    wwid: str
    size: int
    discard: bool = False
    pin: FileId | None = None

    def __post_init__(self) -> None:
        nfs_checks.file(self.path)
        serial_in(self.wwid)
        if self.size <= 0 or self.size % BLOCK:
            raise checks.refuse("size", self.size, f"a multiple of {BLOCK}")

    def describe(self) -> str:
        return f"make disk {self.wwid} of {self.path}"


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Give a disk that we had LIO make of a file the size (bytes) that the file has by now.

    The kernel reads it with the next `Rescan`. Refused where the disk would become smaller, or the file is another one,
    or shorter.
    """

    share: Share
    path: str
    wwid: str
    size: int

    def __post_init__(self) -> None:
        nfs_checks.file(self.path)
        serial_in(self.wwid)
        if self.size <= 0 or self.size % BLOCK:
            raise checks.refuse("size", self.size, f"a multiple of {BLOCK}")

    def describe(self) -> str:
        return f"grow disk {self.wwid} to {self.size} bytes"


@dataclass(frozen=True, slots=True)
class RemoveDisk:
    """Flush a disk that we had LIO make of a file, and take it down; refused while anything has it open.

    Refused, too, where the flush fails, unless that loss is known (`lost`).
    """

    share: Share
    wwid: str
    lost: bool = False

    def __post_init__(self) -> None:
        serial_in(self.wwid)

    def describe(self) -> str:
        return f"{'remove' if self.lost else 'flush and remove'} disk {self.wwid}"


@dataclass(frozen=True, slots=True)
class WriteOutFile:
    """Write out what this host caches of a file that was handed out itself: an error of a write-out is told to who asks
    for it (fsync), and to nobody at an unmount.

    `wwid` is the name by which the object's bytes are known to be dirty. Refused where the write-out fails, unless that
    loss is known (`lost`), and where the file is not `pin` (None: any). A file that root may not open is left to the
    unmount.
    """

    share: Share
    path: str
    wwid: str
    pin: FileId | None = None
    lost: bool = False

    def __post_init__(self) -> None:
        nfs_checks.file(self.path)
        serial_in(self.wwid)

    def describe(self) -> str:
        return f"write out {self.path}{', lost or not' if self.lost else ''}"


@dataclass(frozen=True, slots=True)
class PublishFile:
    """Hand out a file in a mounted share itself: the link of that name leads to it. Unpublish takes it away.

    Refused where the path is no plain file, leads out of the share, or is not `pin` (None: any).
    """

    name: str
    share: Share
    path: str
    pin: FileId | None = None

    def __post_init__(self) -> None:
        checks.name(self.name)
        nfs_checks.file(self.path)

    def describe(self) -> str:
        return f"publish {self.path} as {self.name}"
