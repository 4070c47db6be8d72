"""What the contract tests need of the world around a host: a target, somebody else, and a full account."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from attachers.base import Host


class World(Protocol):
    """One host, and one iSCSI target that it may use: the same for a model and for a kernel.

    `target` is at `portal` and at `other_portal`; `closed_target` is at the first as well, but refuses this host;
    `dead_portal` does not answer (None where that cannot be had).
    """

    host: Host
    target: str
    closed_target: str
    portal: str
    other_portal: str
    dead_portal: str | None

    async def make_lun(self, lun: int, *, size: int = 16 << 20) -> str:
        """Show a LUN to the host; returns its logical unit name."""
        ...

    async def make_twin(self, lun: int, wwid: str) -> None:
        """Show another disk as a LUN, which says the name of one that there is already."""
        ...

    async def swap_lun(self, lun: int) -> str:
        """Put another logical unit behind the LUN number, without a word; returns its logical unit name."""
        ...

    async def resize_lun(self, lun: int, *, size: int) -> None:
        """Give the logical unit behind a LUN number another size, without a word."""
        ...

    async def set_access(self, lun: int, state: str) -> None:
        """Put a LUN into an ALUA state at every portal, without a word: standby, or active/optimized."""
        ...

    async def take_offline(self, hctl: str) -> None:
        """Somebody, or error handling, gives a disk up."""
        ...

    def holding(self, hctl: str) -> AbstractAsyncContextManager[None]:
        """Somebody has the device open."""
        ...

    def hidden_user(self, hctl: str, how: str, name: str) -> AbstractAsyncContextManager[str]:
        """Somebody uses the device and has no descriptor of it open: a mapping of device-mapper, memory, or a backstore
        of LIO that was made of the attachment's link. Yields what he is called.
        """
        ...

    async def use_multipath(self) -> None:
        """multipathd runs from here on, until the end."""
        ...

    def holding_map(self, wwid: str) -> AbstractAsyncContextManager[None]:
        """Somebody has the map of a logical unit open."""
        ...

    async def foreign_map(self, wwid: str, hctl: str) -> None:
        """An administrator makes the map of a logical unit, of one path."""
        ...

    async def foreign_login(self) -> int:
        """An administrator makes a record and logs in, without a scan; returns the SCSI host number."""
        ...

    async def foreign_logout(self) -> None:
        """An administrator logs out of every session to the target."""
        ...

    async def foreign_scan(self, hctl: str) -> None:
        """An administrator scans one address."""
        ...

    async def foreign_link(self, name: str) -> None:
        """An administrator makes a link where ours are."""
        ...

    async def inventory(self) -> frozenset[str]:
        """One line for each thing on this host that belongs to the target, or that is where our things are."""
        ...

    async def close(self) -> None:
        """Take everything away again, whoever made it, and the host's descriptors."""
        ...
