"""What a simulated host knows of NFS: the servers with their exports and files, and one kernel's mounts and disks."""

from dataclasses import dataclass, field

from attachers.nfs_share import KIND, Share
from attachers.sights import NfsMount

LOOPBACK = "loopback"
"""The target of the nexus that leads to a disk made of a file."""
HERE = "127.0.0.100"
VERSIONS = ("4.2", "4.1", "4.0")


@dataclass(frozen=True, slots=True)
class File:
    """A file on a server; `odd` says in words why it is no plain file."""

    size: int
    inode: int
    odd: str = ""


@dataclass(slots=True)
class Servers:
    """Every NFS server there is: what it exports (by source, such as 10.0.0.1:/srv), and how it is.

    `fsids` are those of sources that have not the usual one, `read_only` the sources that nobody may write to,
    `squashed` those of which root of a client is nobody, and may open nothing. `allowed` are the addresses that may ro,
    rw, root in sources that are not open to all; no route leads to the servers `unreached`.
    """

    exports: dict[str, dict[str, File]] = field(default_factory=dict)
    versions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    fsids: dict[str, str] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    squashed: set[str] = field(default_factory=set)
    allowed: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    unreached: set[str] = field(default_factory=set)
    _last: int = 100

    def put(self, share: Share, path: str, *, size: int, odd: str = "") -> None:
        """Make a file, or another one in its place."""
        self._last += 1
        self.exports.setdefault(share.source, {})[path] = File(size, self._last, odd)


@dataclass(slots=True)
class FileDisk:
    """A disk that LIO makes of a file. Its SCSI device is with the kernel (`Kernel.nexuses`)."""

    share: Share
    path: str
    inode: int
    size: int
    discard: bool = False


@dataclass(slots=True)
class Shares:
    """What one kernel has of NFS: its mounts, the lowest first, the disks by name, and who has which file open;
    `readers` are those of them that do not write, `elsewhere` those who came by another mount.

    `cached` is what was written to a file (by its place) and has not reached the server, with the name of its bytes.
    `patience_s` is how long a step waits for a dead server before it is broken off, `address` this host's own towards
    every server.
    """

    mounts: list[tuple[str, NfsMount]] = field(default_factory=list)
    disks: dict[str, FileDisk] = field(default_factory=dict)
    open: dict[str, list[str]] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    patience_s: float = 15.0
    address: str = HERE
    last_id: int = 40
    cached: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def at(self, point: str) -> tuple[NfsMount, ...]:
        """What is mounted there, the uppermost last."""
        return tuple(mount for where, mount in self.mounts if where == point)

    def add(self, point: str, source: str, *, kind: str = KIND, options: str = "") -> None:
        """Mount something, over whatever is there."""
        self.last_id += 1
        self.mounts.append((point, NfsMount(self.last_id, source, kind, options)))

    def drop(self, point: str) -> None:
        """Unmount the uppermost mount there."""
        last = max(index for index, (where, _) in enumerate(self.mounts) if where == point)
        del self.mounts[last]

    def inventory(self) -> set[str]:
        """One line for each thing."""
        lines = {f"mount {mount.id} of {mount.source} at {point}" for point, mount in self.mounts}
        return lines | {f"disk {wwid} of {disk.path} in {disk.share.source}" for wwid, disk in self.disks.items()}
