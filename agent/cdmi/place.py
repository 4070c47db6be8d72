"""Where export entries stand, and for which object they are read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """`size` (bytes, 0: not told) and `object_id` are those of the object that is wanted.

    `file` is its path below the container that has the entries, None where it has them itself. `at` is that
    container's URI (empty: the object's own). `nfs_servers` stand in for an NFS server that an entry does not name.
    """

    size: int = 0
    object_id: str = ""
    file: str | None = None
    at: str = ""
    nfs_servers: tuple[str, ...] = ()
