"""What the contract tests need of the world around a host with Fibre Channel: a port of an array, a cable, others."""

from typing import Protocol

from attachers.base import Host


class FcWorld(Protocol):
    """One host with one Fibre Channel port, `local`, that sees an array's, `target`: a model's and a kernel's alike."""

    host: Host
    local: str
    target: str

    async def make_lun(self, lun: int) -> str:
        """Show a LUN to the host; returns its logical unit name."""
        ...

    async def swap_lun(self, lun: int) -> str:
        """Put another logical unit behind the LUN number, without a word; returns its logical unit name."""
        ...

    async def pull(self) -> None:
        """Pull the array's cable, and wait until the kernel has noticed."""
        ...

    async def lose(self) -> None:
        """Pull it, and wait until the kernel has given up what was behind it."""
        ...

    async def plug(self) -> None:
        """Put it back, and wait until the ports see each other, and the kernel has looked for itself."""
        ...

    async def foreign_scan(self, hctl: str) -> None:
        """An administrator scans one address."""
        ...

    async def inventory(self) -> frozenset[str]:
        """One line for each disk behind the port, and for whatever is where our things are."""
        ...

    async def close(self) -> None:
        """Take everything away again, whoever made it, and the host's descriptors."""
        ...
